from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.build.pipeline import build
from strive_data.build.summary import BuildSummary
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.shards.output import open_output
from tests.strive_data.build.test_resume import (
    BROKEN,
    OTHER,
    REFUSED,
    TIMES,
    VIDEOS,
    Killed,
    content,
    run,
)
from tests.strive_data.made.engine import SETTINGS, FakeEngine, Notes, write_annotation

URL = "memory://bucket/built"


@pytest.fixture
def store() -> Iterator[RemoteFolder]:
    folder = open_folder(URL)
    assert isinstance(folder, RemoteFolder)
    yield folder
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    return write_annotation(tmp_path / "in", VIDEOS)


def run_remote(annotation: Path, engine: FakeEngine | None = None, **options: Any) -> BuildSummary:
    return run(annotation, URL, engine, **options)[0]


def objects(store: RemoteFolder) -> dict[str, object]:
    """All objects, run.json without its times, as `content` of a folder."""
    found: dict[str, object] = {name: store.read(name) for name in store.sizes()}
    record = json.loads(store.read("run.json"))
    return found | {"run.json": {name: value for name, value in record.items() if name not in TIMES}}


def test_objects_are_the_files_of_a_local_build(
    store: RemoteFolder, annotation: Path, tmp_path: Path
) -> None:
    run(annotation, tmp_path / "local")
    assert run_remote(annotation).counts["samples"] == len(VIDEOS) - 4
    assert objects(store) == content(tmp_path / "local")
    engine = FakeEngine(BROKEN, REFUSED)
    assert run_remote(annotation, engine).unchanged
    assert engine.videos == []


class Failing:
    """A file system that fails for good at its call number `at` of those that change something."""

    def __init__(self, file_system: Any, at: int) -> None:
        self._file_system, self._left = file_system, at
        self.changes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("put_file", "rm_file"):
            self._left -= 1
            if self._left < 0:
                raise ConnectionError("the network is gone")
            self.changes.append(name)
        return getattr(self._file_system, name)


@pytest.mark.slow
def test_a_build_that_stops_at_any_upload_goes_on_and_ends_with_the_same_objects(
    annotation: Path, tmp_path: Path, store: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(annotation, tmp_path / "local")
    expected = content(tmp_path / "local")
    real = store.file_system
    # As many uploads as there are files; nothing is removed in a first build.
    for at in range(len(expected)):
        failing = Failing(real, at)
        monkeypatch.setattr(
            "strive_data.shards.output.open_remote", lambda _, f=failing: RemoteFolder(URL, f, store.path)
        )
        with pytest.raises(StriveError, match="the network is gone"):
            run_remote(annotation)
        assert "run.json" not in store.sizes()
        monkeypatch.undo()
        run_remote(annotation)
        assert objects(store) == expected, at
        for name in list(store.sizes()):
            store.remove(name)
    monkeypatch.setattr(
        "strive_data.shards.output.open_remote",
        lambda _: RemoteFolder(URL, Failing(real, at + 1), store.path),
    )
    run_remote(annotation)


def test_a_manifest_is_never_there_before_what_it_vouches_for(
    annotation: Path, store: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    put = store.file_system.put_file

    def noted(source: str, path: str) -> None:
        order.append(Path(path).name)
        put(source, path)

    monkeypatch.setattr(store.file_system, "put_file", noted)
    run_remote(annotation)
    shards = [name for name in order if name.startswith("shard-000000")]
    assert shards[-1] == "shard-000000.json"
    assert sorted(shards[:-1]) == [
        f"shard-000000.{end}" for end in ("frames.parquet", "samples.parquet", "tar")
    ]
    assert (order[0], order[-1]) == ("build.json", "run.json")


def test_going_on_uses_what_is_done_and_drops_what_was_not_committed(
    annotation: Path, store: RemoteFolder, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_remote(annotation, Killed(2))
    assert "run.json" not in store.sizes()
    for name in ("shard-000007.tar", "shard-000007.frames.parquet"):
        (tmp_path / name).write_bytes(b"uploaded before the power went")
        store.put(name, tmp_path / name)
    engine = FakeEngine(BROKEN, REFUSED)
    assert run_remote(annotation, engine).resumed == 3
    assert engine.videos[0] == "b.mp4"
    run(annotation, tmp_path / "local")
    assert objects(store) == content(tmp_path / "local")


def test_retried_and_added_rows_give_the_objects_of_a_local_build(
    annotation: Path, store: RemoteFolder, tmp_path: Path
) -> None:
    for _ in range(2):
        run(annotation, tmp_path / "local", FakeEngine("e", []), retry=True)
        run_remote(annotation, FakeEngine("e", []), retry=True)
    assert objects(store) == content(tmp_path / "local")
    write_annotation(tmp_path / "in", VIDEOS + "aff")
    run(annotation, tmp_path / "local")
    run_remote(annotation)
    assert objects(store) == content(tmp_path / "local")


def test_strangers_and_lost_shards_are_refused(annotation: Path, store: RemoteFolder, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    store.put("x", tmp_path / "x")
    with pytest.raises(UsageError, match=f"--out {URL} is not empty, and holds no build"):
        run_remote(annotation)
    store.remove("x")
    run_remote(annotation)
    store.remove("shard-000000.tar")
    with pytest.raises(DamagedError, match=r"shard-000000\.tar is missing, its manifest says \d+"):
        run_remote(annotation)


def test_a_storage_that_shows_half_a_file_is_refused() -> None:
    refused = pytest.raises(UsageError, match="sftp shows files before they are whole; build into a local")
    with refused, open_output("sftp://host/built"):
        pass


def test_a_file_url_is_the_local_folder(tmp_path: Path) -> None:
    with open_output(f"file://{tmp_path}/built") as output:
        assert output.folder == tmp_path / "built"
        (output.folder / "x").write_bytes(b"abc")
        output.publish()
        assert output.sizes() == {"x": 3}


def test_without_a_shard_another_build_may_start_at_the_url(
    annotation: Path, store: RemoteFolder, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="none of 11 rows"):
        run_remote(annotation, FakeEngine("abcdeh"))
    assert {"build.json", "run.json", "tail.json"} <= store.sizes().keys()
    store.put("shard-000000.tar", annotation)
    with pytest.raises(UsageError, match="other settings"):
        run_remote(annotation, settings=OTHER)
    store.remove("run.json")
    run_remote(annotation, settings=OTHER)
    run(annotation, tmp_path / "local", settings=OTHER)
    assert objects(store) == content(tmp_path / "local")
    with pytest.raises(UsageError, match=f"--out {URL} holds .*settings: sampler.seed: 3, now 0"):
        run_remote(annotation)


def test_messages_name_the_url_and_not_the_copy_of_this_machine(
    store: RemoteFolder, annotation: Path
) -> None:
    """Regression: other settings were refused for /tmp/strive-out-…, which nobody knows."""
    run_remote(annotation)
    other = replace(SETTINGS, sampler=replace(SETTINGS.sampler, alpha=0.9))
    with pytest.raises(UsageError, match=f"^--out {URL} holds a build with other settings: sampler"):
        build([annotation], data_root=annotation.parent, out=URL, settings=other, observer=Notes())
    store.put("shard-000000.json", annotation)
    with pytest.raises(DamagedError, match=f"^{URL}/shard-000000.json"):
        run_remote(annotation)
