"""Samplers compared where it is known which part of the video matters."""

from strive_data.judge.compare import Contest, compare
from strive_data.judge.table import as_text, check_out, write_table
from strive_data.judge.truth import Cases, read_cases

__all__ = ["Cases", "Contest", "as_text", "check_out", "compare", "read_cases", "write_table"]
