from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import FailureKind, SettingsError, UsageError
from strive_data.overview import SHOWN_ROWS, build_overview, sample_overview, table_rows
from strive_data.schema import Failure
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


def test_the_overview_counts_and_lists_failures(tmp_path: Path) -> None:
    failure = Failure(
        sample_id="9", row=4, video="v.mp4", stage="decode", kind=FailureKind.NO_MOOV, message="cut off"
    )
    text = build_overview(write_build(tmp_path / "b", [a_sample("1"), a_sample("2")], failures=[failure]))
    assert "2 samples, 1 video, 2 tried videos, 1 shard, 1 failure" in text
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


def test_failures_are_counted_by_kind_and_listed_when_asked(tmp_path: Path) -> None:
    kinds = [FailureKind.MISSING] * 3 + [FailureKind.TIMEOUT]
    failures = [
        Failure(sample_id=f"x{row}", row=row, video="v", stage="decode", kind=kind, message=f"reason {row}")
        for row, kind in enumerate(kinds)
    ]
    build = write_build(tmp_path / "b", [a_sample("1")], failures=failures)
    text = build_overview(build)
    assert [line.split("┆")[2].strip() for line in text.splitlines() if "decode " in line] == ["3", "1"]
    assert "reason 2" not in text
    listed = table_rows(build, "failures")
    assert all(f"reason {row}" in listed for row in range(4))
    assert listed.endswith("4 of 4 rows of failures")


def test_a_failures_message_does_not_repeat_the_path_on_the_screen(tmp_path: Path) -> None:
    why = "no video format that is read"
    failure = Failure(
        sample_id="9",
        row=4,
        video="deep/v.mp4",
        stage="decode",
        kind=FailureKind.NOT_MEDIA,
        message=f"/a/root/with/a/long/name/that/would/fill/the/column/deep/v.mp4: {why}",
    )
    build = write_build(tmp_path / "b", [a_sample("1")], failures=[failure])
    assert f"┆ {why} " in table_rows(build, "failures")
    assert "/root/" not in table_rows(build, "failures")
    table_rows(build, "failures", out=tmp_path / "f.csv")
    assert failure.message in (tmp_path / "f.csv").read_text()


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample(str(i)) for i in range(9)])
    text = table_rows(build, "frames")
    assert text.endswith(f"{SHOWN_ROWS} of 90 rows of frames; more with --limit, all with --out FILE")
    assert table_rows(build, "frames", limit=90).count("\n│") == 91
    assert table_rows(build, "samples", limit=0).endswith(
        "0 of 9 rows of samples; more with --limit, all with --out FILE"
    )


def test_rows_go_to_a_file(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample(str(i)) for i in range(9)])
    out = tmp_path / "f.csv"
    said = table_rows(build, "frames", where="candidate < 8", sample="3", out=out)
    assert said == f"{out}: 8 of 8 rows of frames; lists as JSON text: variants"
    assert len(out.read_text().splitlines()) == 9
    assert table_rows(build, "frames", limit=7, out=tmp_path / "f.parquet").endswith(
        ": 7 of 90 rows of frames"
    )
