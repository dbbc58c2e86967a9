"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.inspect.cases import Case, read_qvhighlights


@pytest.fixture(scope="session")
def qvhighlights(shared_data: Path) -> list[Case]:
    """All 1,550 queries of QVHighlights with real relevance scores."""
    folder = shared_data / "frame_relevance" / "qvhighlights"
    if not folder.is_dir():
        pytest.skip(f"no real relevance scores: {folder} is absent")
    return list(read_qvhighlights(folder))
