"""Durable streams: a stream that runs once, kept in a log that clients read from wherever they were."""
