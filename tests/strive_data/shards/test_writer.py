from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.files import add_checksum, checksum_matches, file_sha256, json_bytes
from strive_data.common.settings import fingerprint
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.config import ShardSettings
from strive_data.errors import FailureKind, SampleError, StriveError, UsageError
from strive_data.schema import FAILURES_TABLE, FRAMES_TABLE, SAMPLES_TABLE, failed_row
from strive_data.shards.build_state import BuildState, start_build
from strive_data.shards.format import encode_sample
from strive_data.shards.manifest import TABLE_FILES, index_of, package_versions, read_manifest
from strive_data.shards.output import local_copy
from strive_data.shards.writer import (
    OpenShard,
    ShardStream,
    failures_table,
    finalize,
    frames_table,
    join_parts,
    samples_table,
    write_parts,
)
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.engine import SETTINGS, made_sample
from tests.strive_data.made.samples import a_failure, a_question, a_sample


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


def test_a_frames_row_says_what_was_scored_and_who_took_it() -> None:
    sample = a_sample()
    rows = frames_table([sample])
    assert rows.schema == FRAMES_TABLE
    np.testing.assert_allclose(rows["time"], sample.times)
    np.testing.assert_array_equal(rows["score"], sample.scores)
    for m in range(2):
        taken = rows.filter(pl.col("variants").list.contains(m))["candidate"]
        assert taken.to_list() == sample.variants[m].tolist()
    assert rows.filter("uniform")["candidate"].to_list() == sample.uniform.tolist()
    assert rows["inclusion"].sum() == pytest.approx(4)
    assert rows["inclusion"].arg_max() == 9
    assert rows["z"].is_sorted()


def test_clusters_are_a_column_where_frames_were_grouped() -> None:
    sample = a_sample()
    assert frames_table([sample])["cluster"].to_list() == [None] * 10
    clusters = np.arange(10, dtype=np.int32) // 4
    rows = frames_table([replace(sample, clusters=clusters), sample])
    assert rows.schema == FRAMES_TABLE
    assert rows["cluster"].to_list() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2] + [None] * 10


def test_a_samples_row_repeats_the_contract() -> None:
    row = samples_table([a_sample()], "shard-000000.tar").row(0, named=True)
    assert list(row) == list(SAMPLES_TABLE)
    assert (row["candidates"], row["frames"], row["variants"]) == (10, 4, 2)
    assert (row["evidence_spans"], row["options"]) == ([[2.5, 3.5]], ["A. BUS", "B. TAXI"])
    assert (row["shard"], row["duration_seconds"], row["reader"]) == ("shard-000000.tar", 10.0, "pyav")


def test_failures_stand_in_the_order_of_the_annotation() -> None:
    table = failures_table([a_failure(str(row), FailureKind.MISSING, row=row) for row in (5, 1)])
    assert table.schema == FAILURES_TABLE
    assert table.select("row", "kind").rows() == [(1, "missing"), (5, "missing")]
    assert failures_table([]).schema == FAILURES_TABLE


def test_parts_are_joined_in_the_order_of_the_shards(tmp_path: Path) -> None:
    shards = [f"shard-{i:06d}.tar" for i in range(3)]
    for i in (2, 0, 1):
        write_parts(tmp_path, shards[i], [a_sample(str(i))])
    join_parts(tmp_path, shards)
    assert pl.read_parquet(tmp_path / "samples.parquet")["sample_id"].to_list() == ["0", "1", "2"]
    frames = pl.read_parquet(tmp_path / "frames.parquet")
    assert frames["sample_id"].to_list() == [str(i) for i in range(3) for _ in range(10)]


def test_no_samples_give_empty_tables_of_the_same_schema(tmp_path: Path) -> None:
    join_parts(tmp_path, [])
    assert pl.read_parquet(tmp_path / "samples.parquet").schema == SAMPLES_TABLE
    assert pl.read_parquet(tmp_path / "frames.parquet").schema == FRAMES_TABLE


def test_tables_and_record_are_written_with_checksums_and_can_be_written_again(tmp_path: Path) -> None:
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    failure = failed_row((4, a_question("x")), "decode", SampleError(FailureKind.OOM, "m"))
    with ShardStream(tmp_path, SETTINGS) as stream:
        stream.write([made_sample(a_question(str(i))) for i in range(4)], [])
        stream.finish()
        stream.write([failure], [])
    state = BuildState(versions={"av": "1"}).at_end(stream.manifests, stream.trailing, 0)
    table = failures_table([failure])
    times = {"seconds": 1.0, "stage_seconds": {"model": 0.5}}
    contents = []
    for _ in range(2):
        finalize(tmp_path, SETTINGS, state, table, inputs={"a": "1"}, recipes={"a": "mine"}, **times)  # type: ignore[arg-type]
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]
    record = json.loads(contents[0]["run.json"])
    assert checksum_matches(contents[0]["run.json"], record)
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
    assert (record["inputs_sha256"], record["recipes"]) == ({"a": "1"}, {"a": "mine"})
    assert record["settings_fingerprint"] == fingerprint(SETTINGS)
    hashed = [path for path in tmp_path.iterdir() if path.suffix != ".tar" and path.name != "run.json"]
    assert record["files"] == {path.name: file_sha256(path) for path in sorted(hashed)}
    assert "tail.json" in record["files"]
    assert pl.read_parquet(tmp_path / "samples.parquet")["sample_id"].to_list() == ["0", "1", "2", "3"]


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers() | st.text("ab\n é")), st.data())
def test_a_checksum_fits_no_other_value_and_no_other_spelling(
    body: dict[str, object], data: st.DataObject
) -> None:
    protected = add_checksum(body)
    assert add_checksum(protected) == protected
    content = json_bytes(protected)
    assert checksum_matches(content, protected)
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not checksum_matches(bytes(flipped), protected)
    assert not checksum_matches(content, protected | {"more": 1})
    assert not checksum_matches(content, protected | {"more": float("nan")})


def test_versions_are_the_installed_ones() -> None:
    versions = package_versions()
    assert (versions["python"], versions["numpy"]) == (platform.python_version(), np.__version__)


URL = "memory://bucket/built"


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Path]:
    folder, store = write_build(tmp_path / "built", [a_sample(name) for name in "abc"]), open_folder(URL)
    assert isinstance(store, RemoteFolder)
    for path in folder.iterdir():
        store.put(path.name, path)
    yield folder
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_a_copy_has_all_files_or_the_tables_and_is_gone_afterwards(built: Path) -> None:
    with local_copy(URL, tables_only=False) as copy:
        found = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert found == {path.name: path.read_bytes() for path in built.iterdir()}
    with local_copy(URL, tables_only=True) as copy:
        assert {path.name for path in copy.iterdir()} == {*TABLE_FILES, "run.json", "build.json"}
    assert not copy.exists()


def test_a_folder_of_this_machine_is_used_as_it_is(tmp_path: Path) -> None:
    for where in (str(tmp_path), f"file://{tmp_path}"):
        with local_copy(where, tables_only=True) as folder:
            assert folder == tmp_path


def test_what_is_no_build_or_too_large_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such folder: memory://bucket/none"):
        local_copy("memory://bucket/none", tables_only=True).__enter__()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(StriveError, match="has 5 bytes free"):
        local_copy(URL, tables_only=True).__enter__()
