from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.files import file_sha256, json_bytes
from strive_data.common.settings import fingerprint
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.errors import FailureKind, SampleError, StriveError, UsageError
from strive_data.schema import failed_row
from strive_data.shards.build_state import BuildState, start_build
from strive_data.shards.finalize import finalize, local_copy
from strive_data.shards.manifest import TABLE_FILES, add_checksum, checksum_matches, package_versions
from strive_data.shards.writer import ShardStream, failures_table
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.engine import SETTINGS, made_sample
from tests.strive_data.made.samples import a_question, a_sample


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
