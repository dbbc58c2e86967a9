"""Broken video files, made by seed, and what becomes of them: `python -m tools.fuzz --help`."""
