from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.verify.listing import stray_problems
from strive_data.verify.problem import REMOVE
from strive_data.verify.record import Record, read_record
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


@pytest.fixture
def build(tmp_path: Path) -> tuple[Path, Record]:
    folder = write_build(tmp_path / "b", [a_sample("a")])
    return folder, read_record(folder)[0]


def test_a_build_has_nothing_beside_itself(build: tuple[Path, Record]) -> None:
    assert list(stray_problems(*build)) == []


def test_strays_are_named_in_their_order_and_peoples_own_files_are_let_be(
    build: tuple[Path, Record],
) -> None:
    folder, record = build
    for name in ("z.part", ".a.tmp", "shard-000009.json", "mine.json", "notes.txt", "rows.csv"):
        (folder / name).touch()
    (folder / "sub").mkdir()
    assert [(one.file, one.what) for one in stray_problems(folder, record)] == [
        (".a.tmp", "left by a run that was interrupted"),
        ("mine.json", "no part of a build"),
        ("shard-000009.json", "a shard that run.json does not name"),
        ("sub", "no part of a build"),
        ("z.part", "left by a run that was interrupted"),
    ]
    assert {one.todo for one in stray_problems(folder, record)} == {REMOVE, f"{REMOVE}, or keep it elsewhere"}
