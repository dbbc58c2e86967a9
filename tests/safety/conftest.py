"""Fixtures of the safety tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_sample


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """A path that exists after the test only if something that a file said was run."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists()


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return write_build(tmp_path / "build", [a_sample("1"), a_sample("2")])
