"""Millstream: a web framework whose unit of work is the stream."""
