"""Annotation files → questions and failed rows."""
