from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.errors import DamagedError
from strive_data.manifest import read_manifest
from strive_data.verify.manifest import SHARD, checked_manifest
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


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
