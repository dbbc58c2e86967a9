"""Advantage, loss, reward, schedules. Pure: importable without the trainer."""
