from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.common.settings import fingerprint
from strive_data.errors import DamagedError
from strive_data.shards.manifest import read_manifest
from strive_data.verify.problem import REMOVE
from strive_data.verify.record import (
    SHARD,
    Record,
    begun_problems,
    checked_manifest,
    file_problems,
    read_record,
    stray_problems,
)
from tests.strive_data.builds import reseal, write_build
from tests.strive_data.samples import a_sample, build_settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_build(tmp_path / "b", [a_sample("a"), a_sample("b")]) / "shard-000000.json"


def test_what_the_writer_wrote_is_a_manifest(path: Path) -> None:
    assert checked_manifest(path) == read_manifest(path)
    assert [entry.sample_id for entry in checked_manifest(path).samples] == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("size_bytes",), -1),
        (("size_bytes",), True),
        (("sha256",), 7),
        (("shard",), None),
        (("settings",), 3),
        (("unfinished",), [1]),
        (("samples", 1, "offset"), "0"),
        (("samples", 0, "length"), -5),
        (("samples", 0, "sample_id"), 5),
        (("samples", 0, "question"), None),
        (("parts", "shard-000000.samples.parquet", "size_bytes"), 1.5),
    ],
)
def test_a_value_of_another_type_is_damage(path: Path, place: tuple[str | int, ...], value: object) -> None:
    body = json.loads(path.read_text())
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(body))
    with pytest.raises(DamagedError, match="a value is of another type"):
        checked_manifest(path)


def test_names_of_shards() -> None:
    names = [
        "shard-000000.tar",
        "shard-1234567.tar",
        "shard-00000.tar",
        "shard-000000.tar.tmp",
        "shard-000000.json",
    ]
    assert [bool(SHARD.fullmatch(name)) for name in names] == [True, True, False, False, False]


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return write_build(tmp_path / "b", [a_sample("a"), a_sample("b")])


def whats(build: Path) -> list[str]:
    return [problem.what for problem in read_record(build)[1]]


def test_a_sound_record_is_read_whole(build: Path) -> None:
    record, problems = read_record(build)
    assert problems == []
    assert record.fingerprint == fingerprint(build_settings())
    assert (record.counts["samples"], record.shards) == (2, ["shard-000000.tar"])
    assert len(record.files) == 8  # four tables, build.json, the manifest, two parts
    assert list(file_problems(build, record)) == list(begun_problems(build, record)) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not of schema version"),
        (b'{"schema_version": 0}', "not of schema version"),
        (b'{"schema_version": 1, "settings": 3}', "no settings"),
        (b'{"schema_version": 1, "settings": {"decode": {"candidatez": 3}}}', "did you mean 'candidates'"),
    ],
)
def test_what_nothing_can_be_checked_by_is_damage(build: Path, content: bytes, says: str) -> None:
    (build / "run.json").write_bytes(content)
    with pytest.raises(DamagedError, match=says):
        read_record(build)


def test_every_change_of_the_record_shows(build: Path) -> None:
    file = build / "run.json"
    sealed = json.loads(file.read_text())
    file.write_text(json.dumps(sealed | {"seconds": 99.0}))
    assert whats(build) == ["it is not as it was written (its own checksum differs)"]
    reseal(build, seconds="long", counts={"samples": 2, "videos": "1"})
    assert whats(build) == [
        "versions or seconds are missing",
        "counts: videos, shards, failures, candidates, frames, bytes missing",
    ]
    file.write_text(json.dumps({name: value for name, value in sealed.items() if name != "sha256"}))
    assert whats(build) == ["it has no checksum of its own"]
    half = {name: value for name, value in sealed["settings"].items() if name != "score"}
    reseal(build, settings=half, settings_fingerprint="0", seconds=1.0, counts=sealed["counts"])
    assert whats(build)[0] == "its settings are not complete"
    assert whats(build)[1].startswith("settings_fingerprint: 0, its settings give ")


def test_files_are_those_that_are_named(build: Path) -> None:
    record, _ = read_record(build)
    (build / "frames.parquet").write_bytes(b"x")
    (build / "shard-000000.json").unlink()
    found = {problem.file: problem.what for problem in file_problems(build, record)}
    assert found == {
        "frames.parquet": "its bytes do not have the sha256 of run.json",
        "shard-000000.json": "run.json names it, but there is no such file",
    }


def test_a_build_that_began_otherwise_is_named(build: Path) -> None:
    record, _ = read_record(build)
    body = json.loads((build / "build.json").read_text())
    body["settings"]["sampler"]["seed"] = 3
    (build / "build.json").write_text(json.dumps(body))
    (problem,) = begun_problems(build, record)
    assert problem.what == "the build began with other settings than run.json says"
    (build / "build.json").write_text("[]")
    (problem,) = begun_problems(build, record)
    assert problem.what.startswith("not what a build writes first (TypeError(")


@pytest.fixture
def build_listing(tmp_path: Path) -> tuple[Path, Record]:
    folder = write_build(tmp_path / "b", [a_sample("a")])
    return folder, read_record(folder)[0]


def test_a_build_has_nothing_beside_itself(build_listing: tuple[Path, Record]) -> None:
    assert list(stray_problems(*build_listing)) == []


def test_strays_are_named_in_their_order_and_peoples_own_files_are_let_be(
    build_listing: tuple[Path, Record],
) -> None:
    folder, record = build_listing
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
