"""The trainer: one step is collect → reward → advantage → update → record."""
