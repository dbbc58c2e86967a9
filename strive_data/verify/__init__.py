"""Verify a finished build: read every byte and name each problem."""

from strive_data.verify.build import VerifyResult, verify_build
from strive_data.verify.record import Problem

__all__ = ["Problem", "VerifyResult", "verify_build"]
