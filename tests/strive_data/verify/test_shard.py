from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.common.settings import fingerprint
from strive_data.shards.manifest import read_manifest
from strive_data.verify.rows import Place
from strive_data.verify.shard import ShardReport, ShardTask, check_shard
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample, build_settings

SHARD = "shard-000000.tar"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return write_build(tmp_path / "b", [a_sample("a"), a_sample("b", count=12)])


def checked(build: Path, fingerprint_: str = fingerprint(build_settings())) -> ShardReport:
    place = Place(first_sample=0, first_frame=0)
    return check_shard(
        ShardTask(folder=build, shard=SHARD, settings=build_settings(), fingerprint=fingerprint_, place=place)
    )


def whats(build: Path) -> list[tuple[int | None, str]]:
    return [(problem.offset, problem.what) for problem in checked(build).problems]


def test_a_sound_shard_is_counted(build: Path) -> None:
    report = checked(build)
    stored = sum(len(a_sample("x", count=count).stored) for count in (10, 12))
    assert report == ShardReport(
        problems=(), samples=2, frames=stored, candidates=22, size_bytes=(build / SHARD).stat().st_size
    )


def test_a_shard_that_is_cut_off_is_placed(build: Path) -> None:
    first, second = read_manifest(build / "shard-000000.json").samples
    content = (build / SHARD).read_bytes()
    (build / SHARD).write_bytes(content[: second.offset + 700])
    found = whats(build)
    assert found[0][1] == f"{second.offset + 700} bytes, its manifest says {len(content)}"
    assert (second.offset + 700, f"cut off: 700 of {second.length} bytes are there") in found
    assert checked(build).samples == 1
    assert first.length == second.offset


def test_bytes_behind_the_end_are_found(build: Path) -> None:
    with (build / SHARD).open("ab") as file:
        file.write(b"\0")
    size = (build / SHARD).stat().st_size
    assert whats(build) == [
        (size, f"{size} bytes, its manifest says {size - 1}"),
        (size - 1025, "the tar does not end here with two empty blocks"),
        (None, "its bytes do not have the sha256 of its manifest"),
    ]


def test_another_fingerprint_and_another_name_are_named(build: Path) -> None:
    (problem,) = checked(build, "0123").problems
    assert problem.what.endswith("the build's is 0123")
    path = build / "shard-000000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shard": "shard-000005.tar"}))
    assert "it is the manifest of shard-000005.tar" in [what for _, what in whats(build)]


def test_a_manifest_without_its_shard_and_a_shard_without_manifest(build: Path) -> None:
    (build / SHARD).unlink()
    assert whats(build) == [(None, "there is no such file, but its manifest is there")]
    (build / "shard-000000.json").write_text("{")
    (problem,) = checked(build).problems
    assert problem.file == "shard-000000.json"
