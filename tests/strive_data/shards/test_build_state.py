from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.config import BuildSettings, DecodeSettings, FailureSettings, SamplerSettings
from strive_data.errors import DamagedError, UsageError
from strive_data.schema import FailedRow
from strive_data.shards.build_state import BuildState, leftovers, read_build_state, start_build
from strive_data.shards.manifest import Entry, Manifest, TrailingFailures
from tests.strive_data.made.samples import a_failure

SETTINGS = BuildSettings()


def failure(name: str, message: str = "", attempt: int = 0) -> FailedRow:
    return a_failure(name, row=-1, video="", message=message, question_hash=name, attempt=attempt)


def manifest(number: int, *samples: str, failures: tuple[FailedRow, ...] = (), attempt: int = 0) -> Manifest:
    return Manifest(
        schema_version=1,
        shard=f"shard-{number:06d}.tar",
        settings="",
        size_bytes=0,
        sha256="",
        attempt=attempt,
        failures=failures,
        samples=tuple(Entry(sample_id=name, offset=0, length=0, sha256="", question="q") for name in samples),
    )


def test_the_last_failure_of_a_row_counts_unless_it_has_a_sample() -> None:
    first = manifest(0, "a", failures=(failure("b"), failure("c", "first")))
    second = manifest(1, "b", failures=(failure("d", "later", attempt=1),), attempt=1)
    trailing = TrailingFailures(shards=1, attempt=0, failures=(failure("d", "early"), failure("e")))
    state = BuildState().with_records([first, second], trailing)
    assert state.done == {"a": "q", "b": "q"}
    found = {name: (failed.message, failed.attempt) for name, failed in state.failed.items()}
    assert found == {"c": ("first", 0), "d": ("later", 1), "e": ("", 0)}


def test_trailing_failures_that_were_not_tried_again_stay() -> None:
    trailing = TrailingFailures(shards=1, failures=(failure("b"), failure("c")))
    state = BuildState().with_records([manifest(0, "a")], trailing)
    end = state.at_end([manifest(0, "a"), manifest(1, "c")], [failure("d")], 0)
    assert end.trailing == TrailingFailures(shards=2, attempt=0, failures=(failure("b"), failure("d")))
    assert set(end.failed) == {"b", "d"}
    # Without new rows, as after an interruption at the end, nothing changes.
    assert end.at_end(end.manifests, [], 0) == end
    again = failure("b", "again", attempt=1)
    assert state.at_end([manifest(0, "a")], [again], 1).trailing.failures == (again,)


def test_a_folder_is_started_once_and_knows_its_settings(tmp_path: Path) -> None:
    assert (
        read_build_state(tmp_path / "absent", SETTINGS)
        == read_build_state(tmp_path, SETTINGS)
        == BuildState()
    )
    (tmp_path / ".build.json.tmp").touch()
    assert read_build_state(tmp_path, SETTINGS) == BuildState()
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]
    state = read_build_state(tmp_path, SETTINGS)
    assert (state.started, state.complete, state.attempt) == (True, False, 0)
    before = (tmp_path / "build.json").read_bytes()
    (tmp_path / "shard-000000.tar").touch()
    (tmp_path / "mine.txt").touch()
    start_build(tmp_path, SETTINGS, state, 0)
    assert (tmp_path / "build.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build.json", "mine.txt"]
    start_build(tmp_path, SETTINGS, state, 1)
    assert read_build_state(tmp_path, SETTINGS).attempt == 1


def test_other_settings_are_refused_by_name_and_limits_are_free(tmp_path: Path) -> None:
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    (tmp_path / "shard-000000.json").touch()
    other = replace(SETTINGS, sampler=SamplerSettings(frames=8, seed=3))
    with pytest.raises(UsageError) as raised:
        read_build_state(tmp_path, other)
    assert "sampler.frames: 32, now 8; sampler.seed: 0, now 3. Use the same" in str(raised.value)
    (tmp_path / "shard-000000.json").unlink()
    limits = replace(
        SETTINGS, failures=FailureSettings(max_count=3), decode=DecodeSettings(timeout_seconds=1)
    )
    assert read_build_state(tmp_path, limits).started


def test_without_a_shard_a_build_may_start_again_with_other_settings(tmp_path: Path) -> None:
    """Regression: a wrong --data-root bound the folder to the settings of a start that made nothing."""
    start_build(tmp_path, SETTINGS, BuildState(), 1)
    for name in ("tail.json", "shard-000000.tar", ".shard-000000.json.tmp", "failures.parquet", "run.json"):
        (tmp_path / name).touch()
    other = replace(SETTINGS, sampler=SamplerSettings(seed=3))
    with pytest.raises(UsageError, match=r"sampler\.seed: 0, now 3"):
        read_build_state(
            tmp_path, other
        )  # run.json says that the build was finished, so its shard is no leftover
    (tmp_path / "run.json").unlink()
    assert read_build_state(tmp_path, other) == BuildState()
    assert (tmp_path / "tail.json").exists()  # nothing is removed before the work begins
    start_build(tmp_path, other, BuildState(), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build.json", "failures.parquet"]
    assert read_build_state(tmp_path, other).started
    assert read_build_state(tmp_path, SETTINGS) == BuildState()


def test_other_folders_and_broken_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="is not an empty folder, and holds no build"):
        read_build_state(tmp_path, SETTINGS)
    (tmp_path / "run.json").touch()
    with pytest.raises(UsageError, match=r"holds a build without build.json"):
        read_build_state(tmp_path, SETTINGS)
    (tmp_path / "build.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"build.json is not the build.json of a build"):
        read_build_state(tmp_path, SETTINGS)
    (tmp_path / "build.json").write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(UsageError, match="schema version 9"):
        read_build_state(tmp_path, SETTINGS)


def test_damaged_records_are_named_with_a_remedy(tmp_path: Path) -> None:
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    for name in ("shard-000000.json", "tail.json"):
        (tmp_path / name).write_text("{")
        with pytest.raises(DamagedError) as raised:
            read_build_state(tmp_path, SETTINGS)
        assert str(raised.value).startswith(f"{tmp_path / name} cannot be read")
        assert str(raised.value).endswith(": restore it from a copy, or build again into a new folder")
        (tmp_path / name).unlink()


def test_a_folder_with_the_name_of_a_temporary_file_is_left_alone(tmp_path: Path) -> None:
    """Regression: it was to be unlinked, which ended in a traceback."""
    start_build(tmp_path, SETTINGS, BuildState(), 0)
    (tmp_path / ".x.tmp").mkdir()
    start_build(tmp_path, SETTINGS, read_build_state(tmp_path, SETTINGS), 0)
    assert (tmp_path / ".x.tmp").is_dir()


def test_leftovers_are_temporary_files_and_uncommitted_shards(tmp_path: Path) -> None:
    kept = ["build.json", "shard-000000.tar", "shard-000000.json", "shard-000000.frames.parquet", "a.parquet"]
    left = [".shard-000001.tar.tmp", ".run.json.tmp", "shard-000001.tar", "shard-000001.samples.parquet"]
    for name in kept + left:
        (tmp_path / name).touch()
    assert {path.name for path in leftovers(tmp_path, [manifest(0)])} == set(left)
