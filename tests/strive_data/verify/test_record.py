from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.errors import DamagedError
from strive_data.settings import fingerprint
from strive_data.verify.record import begun_problems, file_problems, read_record
from tests.strive_data.builds import reseal, write_build
from tests.strive_data.samples import a_sample, build_settings


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
