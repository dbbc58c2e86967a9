from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from strive_data.config import ShardSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import failed_row
from strive_data.shards.format import encode_sample
from strive_data.shards.manifest import index_of, read_manifest
from strive_data.shards.writer import OpenShard, ShardStream
from tests.strive_data.made.engine import SETTINGS, made_sample
from tests.strive_data.made.samples import a_question, a_sample


def test_a_shard_is_visible_only_when_committed(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 3, "settings")
    shard.add(a_sample())
    assert not list(tmp_path.glob("shard-*"))
    shard.commit()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shard-000003.json", "shard-000003.tar"]


def test_the_manifest_states_what_is_there(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 0, "settings")
    for name in ("1", "2"):
        shard.add(a_sample(name))
    manifest = shard.commit()
    content = (tmp_path / "shard-000000.tar").read_bytes()
    assert manifest.sha256 == sha256(content).hexdigest()
    assert manifest.size_bytes == len(content)
    for entry in manifest.samples:
        block = content[entry.offset : entry.offset + entry.length]
        assert entry.sha256 == sha256(block).hexdigest()
        assert block == encode_sample(a_sample(entry.sample_id))
    on_disk = json.loads((tmp_path / "shard-000000.json").read_text())
    assert [entry["sample_id"] for entry in on_disk["samples"]] == ["1", "2"]
    assert index_of([manifest])["offset"].to_list() == [0, manifest.samples[0].length]


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        shard = OpenShard(tmp_path, number, "settings")
        shard.add(a_sample())
        shard.commit()
        contents.append((tmp_path / shard.name).read_bytes())
    assert contents[0] == contents[1]


def test_a_shard_is_full_by_count_or_by_bytes(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 0, "settings")
    shard.add(a_sample())
    assert shard.is_full(ShardSettings(max_samples=1))
    assert not shard.is_full(ShardSettings(max_samples=2))
    while shard.size_bytes < 1 << 16:
        shard.add(a_sample())
    assert shard.is_full(ShardSettings(max_bytes=1 << 16))
    shard.commit()


def test_a_full_shard_is_committed_at_once_with_the_rows_of_an_unfinished_video(tmp_path: Path) -> None:
    questions = [a_question(str(i)) for i in range(5)]
    results = [made_sample(question) for question in questions]
    failure = failed_row((1, questions[1]), "score", SampleError(FailureKind.SCORE_FAILED, "no"))
    ids = [question.sample_id for question in questions]
    with ShardStream(tmp_path, SETTINGS, attempt=4) as stream:
        stream.write([results[0], failure, *results[2:]], ids)
        (first,) = stream.manifests
        assert [entry.sample_id for entry in first.samples] == ["0", "2", "3"]
        assert (first.unfinished, first.attempt) == (tuple(ids), 4)
        assert [failure.sample_id for failure in first.failures] == ["1"]
        assert read_manifest(tmp_path / "shard-000000.json") == first
        assert {name: (tmp_path / name).stat().st_size for name in first.parts} == {
            name: part.size_bytes for name, part in first.parts.items()
        }
        stream.finish()
        second = stream.manifests[1]
    assert (second.shard, second.unfinished, len(second.samples)) == ("shard-000001.tar", (), 1)


def test_an_uncommitted_shard_is_removed(tmp_path: Path) -> None:
    question = a_question("1")
    with ShardStream(tmp_path, SETTINGS) as stream:
        stream.write([made_sample(question)], ["1"])
        assert [path.name for path in tmp_path.iterdir()] == [".shard-000000.tar.tmp"]
    assert list(tmp_path.iterdir()) == []
    assert stream.written_bytes > 0
