"""Curves and sampled completions of a run, for people."""
