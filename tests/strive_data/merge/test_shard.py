"""One shard moved: linked, copied, or rewritten without the samples that go; damage is found on the way."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import DamagedError
from strive_data.merge.plan import Move
from strive_data.merge.shard import move_shard
from strive_data.shards.format import decode_sample
from strive_data.shards.manifest import Manifest, read_manifest
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample

OLD, NEW = "shard-000000", "shard-000004"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return write_build(tmp_path / "source", [a_sample(name) for name in "abc"])


def move(source: Path, *kept: str) -> Move:
    manifest = read_manifest(source / f"{OLD}.json")
    entries = tuple(entry for entry in manifest.samples if entry.sample_id in kept)
    return Move(part=0, manifest=manifest, shard=f"{NEW}.tar", kept=entries)


def assert_told(manifest: Manifest, out: Path) -> None:
    """The manifest on the disk is the one given, and its sizes and hashes are those of the files."""
    assert read_manifest(out / f"{NEW}.json") == manifest
    for name, size, digest in (
        (manifest.shard, manifest.size_bytes, manifest.sha256),
        *((name, part.size_bytes, part.sha256) for name, part in manifest.parts.items()),
    ):
        content = (out / name).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (size, digest)


@pytest.mark.parametrize("copy", [False, True])
def test_a_whole_shard_keeps_its_bytes_under_another_name(source: Path, copy: bool) -> None:
    out = source.parent / "out"
    manifest = move_shard(move(source, *"abc"), source, out, copy=copy)
    assert_told(manifest, out)
    assert (out / f"{NEW}.tar").samefile(source / f"{OLD}.tar") is not copy
    assert (out / f"{NEW}.tar").read_bytes() == (source / f"{OLD}.tar").read_bytes()
    assert manifest.samples == read_manifest(source / f"{OLD}.json").samples
    rows = pl.read_parquet(out / f"{NEW}.samples.parquet")
    assert rows["shard"].to_list() == [f"{NEW}.tar"] * 3


def test_samples_that_go_leave_no_gap(source: Path) -> None:
    out = source.parent / "out"
    manifest = move_shard(move(source, "a", "c"), source, out, copy=False)
    assert_told(manifest, out)
    first, second = manifest.samples
    assert (first.sample_id, first.offset) == ("a", 0)
    assert (second.sample_id, second.offset) == ("c", first.length)
    content = (out / f"{NEW}.tar").read_bytes()
    assert len(content) == first.length + second.length + 1024
    kept = decode_sample(content[second.offset : second.offset + second.length])
    assert kept.meta.question.sample_id == "c"
    for table, height in (("samples", 2), ("frames", 20)):
        rows = pl.read_parquet(out / f"{NEW}.{table}.parquet")
        assert (rows.height, set(rows["sample_id"])) == (height, {"a", "c"})


@pytest.mark.parametrize("kept", ["abc", "ac"])
def test_bytes_that_are_not_those_of_the_manifest_are_damage(source: Path, kept: str) -> None:
    asked, path = move(source, *kept), source / f"{OLD}.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"shard-000000\.tar is not what its manifest says: `strive-data"):
        move_shard(asked, source, source.parent / "out", copy=True)
    assert not (source.parent / "out" / f"{NEW}.tar").exists()
