"""Shards of a remote build, fetched once and checked; and builds read by URL as by path."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from strive_data.errors import DamagedError, StriveError
from strive_data.shard_cache import ShardCache
from strive_data.shards import ShardSet
from strive_data.storage import LocalFolder, open_folder
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample

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
    cache, size = ShardCache(inner, tmp_path / "cache"), inner.size_bytes(SHARD)
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
    with pytest.raises(DamagedError, match=rf"{SHARD} does not have its manifest's checksum"):
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
    with pytest.raises(StriveError, match=r"data\.cache: cannot make .*file/cache"):
        cache.read_range(SHARD, 0, 1)
