"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: these machines are noisy, and no test here is about time.
settings.register_profile("strive", deadline=None)
settings.load_profile("strive")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real videos, questions and benchmark files; tests that use it skip where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STRIVE_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set STRIVE_SHARED_DATA)")
    return folder
