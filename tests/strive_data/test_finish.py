from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from strive_data.annotations import Annotations
from strive_data.errors import FailureKind, SampleError
from strive_data.finish import finish
from strive_data.ledger import Ledger, begin
from strive_data.manifest import Tail, lost_of
from strive_data.seal import file_sha256, is_sealed
from strive_data.shard_stream import ShardStream
from strive_data.video_results import failure_of
from tests.strive_data.fake_engine import SETTINGS, made_sample
from tests.strive_data.samples import a_question


def test_all_that_remains_is_written_and_sealed_and_can_be_written_again(tmp_path: Path) -> None:
    questions = [a_question(str(i)) for i in range(4)]
    begin(tmp_path, SETTINGS, Ledger(), 0)
    with ShardStream(tmp_path, SETTINGS) as stream:
        stream.write([made_sample(question) for question in questions], questions, [])
        stream.finish()
    failure = failure_of((4, a_question("x")), "decode", SampleError(FailureKind.OOM, "m"))
    rows = Annotations(questions=(), failures=(), input_sha256={"a": "1"})
    contents = []
    for _ in range(2):
        finish(
            tmp_path,
            rows,
            SETTINGS,
            manifests=stream.manifests,
            tail=Tail(shards=2, failures=(lost_of(failure, a_question("x")),)),
            failures=[failure],
            versions={"av": "1"},
            seconds=1.0,
            stage_seconds={"model": 0.5},
        )
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]
    record = json.loads(contents[0]["run.json"])
    assert is_sealed(contents[0]["run.json"], record)
    assert record["counts"] == {
        "samples": 4,
        "videos": 1,
        "tried_videos": 1,
        "shards": 2,
        "failures": 1,
        "candidates": 40,
        "frames": pl.read_parquet(tmp_path / "samples.parquet")["stored"].sum(),
        "bytes": sum(path.stat().st_size for path in tmp_path.glob("*.tar")),
    }
    assert (record["failures_by_kind"], record["versions"]) == ({"oom": 1}, {"av": "1"})
    assert (record["seconds"], record["stage_seconds"]) == (1.0, {"model": 0.5})
    hashed = [path for path in tmp_path.iterdir() if path.suffix != ".tar" and path.name != "run.json"]
    assert record["files"] == {path.name: file_sha256(path) for path in sorted(hashed)}
    assert "tail.json" in record["files"]
    assert pl.read_parquet(tmp_path / "samples.parquet")["sample_id"].to_list() == ["0", "1", "2", "3"]
