"""Shards and tables: written, committed, read."""
