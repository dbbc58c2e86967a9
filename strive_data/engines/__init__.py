"""Engines spread decoding over processes; `local` is the one for a single machine."""
