from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strive_data.atomic import write_json
from strive_data.errors import StriveError, UsageError
from strive_data.manifest import index_of
from strive_data.schema import SCHEMA_VERSION
from strive_data.shard_writer import OpenShard
from strive_data.shards import INDEX_FILE, ShardSet, read_run
from tests.strive_data.samples import a_sample


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
