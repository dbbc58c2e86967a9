from __future__ import annotations

from pathlib import Path

import pytest

from tests.strive_data.annotations.made_rows import VIDEO


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of videos with the one that the made rows name."""
    (tmp_path / "v").mkdir()
    (tmp_path / VIDEO).touch()
    return tmp_path
