"""Samplers compared where it is known which part of the video matters."""

from strive_data.judge.compare import Contest, compare
from strive_data.judge.table import as_text
from strive_data.judge.truth import Cases, read_cases

__all__ = ["Cases", "Contest", "as_text", "compare", "read_cases"]
