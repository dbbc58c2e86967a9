from __future__ import annotations

from pathlib import Path

import polars as pl

from strive_data.errors import FailureKind
from strive_data.merge.failures import join_failures
from strive_data.schema import SAMPLES_TABLE, Failure
from strive_data.tables import failures_table


def part(folder: Path, *rows: tuple[str, FailureKind]) -> Path:
    folder.mkdir()
    failures = [
        Failure(sample_id=name, row=4, video="v.mp4", stage="decode", kind=kind, message="died")
        for name, kind in rows
    ]
    failures_table(failures).write_parquet(folder / "failures.parquet")
    return folder


def samples(*ids: str) -> pl.LazyFrame:
    return pl.DataFrame({"sample_id": ids}, schema={"sample_id": SAMPLES_TABLE["sample_id"]}).lazy()


def test_equal_failures_stand_once_and_those_of_samples_that_are_there_go(tmp_path: Path) -> None:
    crash, twice = FailureKind.CRASH, FailureKind.DUPLICATE_ID
    folders = [
        part(tmp_path / "a", ("x", crash), ("held", crash)),
        part(tmp_path / "b", ("x", crash), ("x", FailureKind.TIMEOUT), ("held", twice)),
    ]
    left, gone = join_failures(folders, samples("held", "other"))
    assert left.select("sample_id", "kind").rows() == [
        ("x", "crash"),
        ("x", "timeout"),
        ("held", "duplicate_id"),
    ]
    assert gone == 1


def test_builds_without_a_failure_have_none_together(tmp_path: Path) -> None:
    left, gone = join_failures([part(tmp_path / "a"), part(tmp_path / "b")], samples("a"))
    assert (left.height, gone) == (0, 0)
