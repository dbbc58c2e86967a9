from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import FailureKind, SettingsError, UsageError
from strive_data.overview import build_overview, sample_overview
from strive_data.schema import Failure
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


def test_the_overview_counts_and_lists_failures(tmp_path: Path) -> None:
    failure = Failure(
        sample_id="9", row=4, video="v.mp4", stage="decode", kind=FailureKind.NO_MOOV, message="cut off"
    )
    text = build_overview(write_build(tmp_path / "b", [a_sample("1"), a_sample("2")], failures=[failure]))
    assert "2 samples, 1 videos, 1 shards, 1 failures" in text
    assert "multiple choice" in text
    assert "no_moov" in text
    assert "cut off" in text


def test_one_sample_is_shown_with_every_candidate(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("1"), a_sample("2", count=12)])
    text = sample_overview(build, "2")
    assert "question: Which sign is on the roof?" in text
    rows = [line.split("┆") for line in text.splitlines() if "┆" in line][1:]
    assert [row[0].strip("│ ") for row in rows] == [str(i) for i in range(12)]
    sample = a_sample("2", count=12)
    for i, row in enumerate(rows):
        taken = [m for m in range(2) if i in sample.variants[m]]
        assert row[-2].strip() == str(taken)


def test_unknown_samples_and_folders_are_refused(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("17")])
    with pytest.raises(SettingsError, match="unknown sample '18'; known: 17"):
        sample_overview(build, "18")
    with pytest.raises(UsageError, match="no such folder"):
        build_overview(tmp_path / "none")
