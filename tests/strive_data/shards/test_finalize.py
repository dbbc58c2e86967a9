from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.annotations.read import Annotations
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.engines.results import failure_of
from strive_data.errors import FailureKind, SampleError, StriveError, UsageError
from strive_data.shards.build_state import BuildState, start_build
from strive_data.shards.checksums import checksum_matches, file_sha256
from strive_data.shards.finalize import TABLES_AND_RECORD, finalize, local_copy, local_folder
from strive_data.shards.manifest import TrailingFailures, failed_row_of
from strive_data.shards.writer import ShardStream
from tests.strive_data.builds import write_build
from tests.strive_data.fake_engine import SETTINGS, made_sample
from tests.strive_data.samples import a_question, a_sample


def test_all_that_remains_is_written_and_sealed_and_can_be_written_again(tmp_path: Path) -> None:
    questions = [a_question(str(i)) for i in range(4)]
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    with ShardStream(tmp_path, SETTINGS) as stream:
        stream.write([made_sample(question) for question in questions], questions, [])
        stream.finish()
    failure = failure_of((4, a_question("x")), "decode", SampleError(FailureKind.OOM, "m"))
    rows = Annotations(questions=(), failures=(), input_sha256={"a": "1"})
    contents = []
    for _ in range(2):
        finalize(
            tmp_path,
            rows,
            SETTINGS,
            manifests=stream.manifests,
            tail=TrailingFailures(shards=2, failures=(failed_row_of(failure, a_question("x")),)),
            failures=[failure],
            versions={"av": "1"},
            seconds=1.0,
            stage_seconds={"model": 0.5},
        )
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
    hashed = [path for path in tmp_path.iterdir() if path.suffix != ".tar" and path.name != "run.json"]
    assert record["files"] == {path.name: file_sha256(path) for path in sorted(hashed)}
    assert "tail.json" in record["files"]
    assert pl.read_parquet(tmp_path / "samples.parquet")["sample_id"].to_list() == ["0", "1", "2", "3"]


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
        assert {path.name for path in copy.iterdir()} == TABLES_AND_RECORD
    assert not copy.exists()


def test_a_folder_of_this_machine_is_used_as_it_is(tmp_path: Path) -> None:
    for where in (str(tmp_path), f"file://{tmp_path}"):
        with local_copy(where, tables_only=True) as folder:
            assert folder == tmp_path
        assert local_folder(where) == tmp_path


def test_what_is_no_build_or_too_large_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such folder: memory://bucket/none"):
        local_copy("memory://bucket/none", tables_only=True).__enter__()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(StriveError, match=r"bytes are to be read, and .* has room for 5"):
        local_copy(URL, tables_only=True).__enter__()
    with pytest.raises(
        UsageError, match=f"{URL}: this command reads folders of this machine; copy the build"
    ):
        local_folder(URL)
