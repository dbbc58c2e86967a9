"""Re-read a finished build, all of it, and name what is wrong."""

from strive_data.verify.problem import Problem
from strive_data.verify.whole import Verdict, verify_build

__all__ = ["Problem", "Verdict", "verify_build"]
