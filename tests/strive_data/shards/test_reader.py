from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from strive_data import SCHEMA_VERSION
from strive_data.common.files import write_json
from strive_data.common.storage import LocalFolder, open_folder
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.shards.manifest import INDEX_FILE, index_of
from strive_data.shards.reader import ShardCache, ShardSet
from strive_data.shards.run_file import read_run
from strive_data.shards.writer import OpenShard
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_sample

URL, SHARD = "memory://bucket/build", "shard-000000.tar"


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Path]:
    """A build of three samples, which also lies at URL."""
    folder = write_build(tmp_path / "build", [a_sample(name) for name in "abc"])
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/build", recursive=True)
    yield folder
    memory.rm("/", recursive=True)


class Counting(LocalFolder):
    """Counts the ranges that are asked of it."""

    asked = 0

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        self.asked += 1
        return super().read_range(name, offset, size_bytes)


@pytest.mark.parametrize("cached", [False, True])
def test_a_build_at_a_url_is_the_build(build: Path, tmp_path: Path, cached: bool) -> None:
    local = ShardSet.open(build)
    remote = ShardSet.open(URL, cache=tmp_path / "cache" if cached else None)
    assert (remote.fingerprint, remote.sample_ids) == (local.fingerprint, local.sample_ids)
    assert (str(remote.folder), remote.blocks) == (URL, (3,))
    for i in range(3):
        assert remote.read(i).jpegs == local.read(i).jpegs
        np.testing.assert_array_equal(remote.read(i).scores, local.read(i).scores)
    copies = list((tmp_path / "cache").rglob("*.tar"))
    assert copies == ([tmp_path / "cache" / local.fingerprint / SHARD] if cached else [])


def test_a_local_build_is_not_copied(build: Path, tmp_path: Path) -> None:
    ShardSet.open(build, cache=tmp_path / "cache").read(0)
    ShardSet.open(f"file://{build}", cache=tmp_path / "cache").read(0)
    assert not (tmp_path / "cache").exists()


def test_threads_wait_for_one_download(build: Path, tmp_path: Path) -> None:
    inner = Counting(build)
    cache, size = ShardCache(inner, tmp_path / "cache"), (build / SHARD).stat().st_size
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda i=i: got.append(cache.read_range(SHARD, i, 1))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(inner.read_range(SHARD, i, 1) for i in range(8))
    assert inner.asked == 1 + 8
    assert (tmp_path / "cache" / SHARD).stat().st_size == size
    assert ShardCache(inner, tmp_path / "cache").read_range(SHARD, 0, size) == inner.read(SHARD)
    assert inner.asked == 1 + 8


def test_a_damaged_download_is_refused_and_leaves_nothing(build: Path, tmp_path: Path) -> None:
    content = bytearray((build / SHARD).read_bytes())
    content[1000] ^= 1
    (build / SHARD).write_bytes(content)
    cache = ShardCache(open_folder(build), tmp_path / "cache")
    with pytest.raises(DamagedError, match=rf"{SHARD} does not have the checksum of its manifest"):
        cache.read_range(SHARD, 0, 1)
    assert list((tmp_path / "cache").iterdir()) == []
    (build / SHARD).write_bytes(content[:-512])
    with pytest.raises(DamagedError, match="cut short"):
        cache.read_range(SHARD, 0, 1)
    manifest = build / "shard-000000.json"
    manifest.write_text(json.dumps({"size_bytes": "many"}))
    with pytest.raises(DamagedError, match="is not the manifest of a shard"):
        cache.read_range(SHARD, 0, 1)


def test_a_cache_that_cannot_be_written_is_named(build: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ShardCache(open_folder(build), tmp_path / "file" / "cache")
    with pytest.raises(StriveError, match=r"data\.cache: cannot write .*file/cache"):
        cache.read_range(SHARD, 0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build of three samples in two shards."""
    manifests = []
    for number, names in enumerate((("a", "b"), ("c",))):
        shard = OpenShard(tmp_path, number, "settings")
        for name in names:
            shard.add(a_sample(name))
        manifests.append(shard.commit())
    index_of(manifests).write_parquet(tmp_path / INDEX_FILE)
    write_json(tmp_path / "run.json", {"schema_version": SCHEMA_VERSION, "settings": {"x": 1}})
    return tmp_path


def test_samples_are_read_in_any_order(folder: Path) -> None:
    shards = ShardSet.open(folder)
    assert (len(shards), shards.sample_ids, shards.settings) == (3, ["a", "b", "c"], {"x": 1})
    for i in (2, 0, 1):
        sample = shards.read(i)
        assert sample.meta.question.sample_id == "abc"[i]
        np.testing.assert_array_equal(sample.variants, a_sample("abc"[i]).variants)


def test_a_flipped_byte_is_found_and_named(folder: Path) -> None:
    path = folder / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(StriveError, match=r"shard-000000\.tar: sample 'a' .* the shard is damaged"):
        ShardSet.open(folder).read(0)
    assert ShardSet.open(folder).read(2).meta.question.sample_id == "c"


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "shard-000001.tar").unlink()
    with pytest.raises(StriveError, match=r"cannot read .*shard-000001\.tar"):
        ShardSet.open(folder).read(2)


def test_the_fingerprint_is_that_of_the_samples(folder: Path) -> None:
    before = ShardSet.open(folder).fingerprint
    assert ShardSet.open(folder).fingerprint == before
    shard = OpenShard(folder, 1, "settings")
    shard.add(a_sample("d"))
    index_of([shard.commit()]).write_parquet(folder / INDEX_FILE)
    assert ShardSet.open(folder).fingerprint != before


def test_what_is_not_a_finished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_run(tmp_path / "none")
    with pytest.raises(UsageError, match=r"has no run\.json"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"is not the run\.json"):
        read_run(tmp_path)
    write_json(tmp_path / "run.json", {"schema_version": 99})
    with pytest.raises(UsageError, match="schema version 99"):
        read_run(tmp_path)
