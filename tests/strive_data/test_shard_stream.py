from __future__ import annotations

from pathlib import Path

from strive_data.errors import FailureKind, SampleError
from strive_data.manifest import read_manifest
from strive_data.shard_stream import ShardStream
from strive_data.video_results import failure_of
from tests.strive_data.fake_engine import SETTINGS, made_sample
from tests.strive_data.samples import a_question


def test_a_full_shard_is_committed_at_once_and_tells_where_it_ends(tmp_path: Path) -> None:
    questions = [a_question(str(i)) for i in range(5)]
    results = [made_sample(question) for question in questions]
    lost = failure_of((1, questions[1]), "score", SampleError(FailureKind.SCORE_FAILED, "no"))
    ids = [question.sample_id for question in questions]
    with ShardStream(tmp_path, SETTINGS, attempt=4) as stream:
        stream.write([results[0], lost, *results[2:]], questions, ids)
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


def test_what_is_not_committed_is_given_up(tmp_path: Path) -> None:
    question = a_question("1")
    with ShardStream(tmp_path, SETTINGS) as stream:
        stream.write([made_sample(question)], [question], ["1"])
        assert [path.name for path in tmp_path.iterdir()] == [".shard-000000.tar.tmp"]
    assert list(tmp_path.iterdir()) == []
    assert stream.written_bytes > 0
