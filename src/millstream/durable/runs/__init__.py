"""Runs: an action's output, produced once under a lease and kept in a log for whoever reads it."""
