"""Joined builds: whole, verified, readable, the same bytes each time, and never half there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.build import merge as join
from strive_data.build.merge import join_failures, merge_builds
from strive_data.build.verify import verify_build
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, FailureKind, StriveError, UsageError
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.tables import build_overview
from strive_data.shards.build_state import read_build_state
from strive_data.shards.reader import ShardSet
from strive_data.shards.writer import failures_table
from tests.strive_data.made.builds import write_build as write_any_build
from tests.strive_data.made.samples import a_failure, a_sample, build_settings


def part(folder: Path, *rows: tuple[str, FailureKind]) -> Path:
    folder.mkdir()
    failures_table([a_failure(name, kind) for name, kind in rows]).write_parquet(folder / "failures.parquet")
    return folder


def test_equal_failures_stand_once_and_those_of_samples_that_are_there_go(tmp_path: Path) -> None:
    crash, twice = FailureKind.CRASH, FailureKind.DUPLICATE_ID
    folders = [
        part(tmp_path / "a", ("x", crash), ("held", crash)),
        part(tmp_path / "b", ("x", crash), ("x", FailureKind.TIMEOUT), ("held", twice)),
    ]
    left, gone = join_failures(folders, {"held", "other"})
    assert left.select("sample_id", "kind").rows() == [
        ("x", "crash"),
        ("x", "timeout"),
        ("held", "duplicate_id"),
    ]
    assert gone == 1


def test_builds_without_a_failure_give_none(tmp_path: Path) -> None:
    left, gone = join_failures([part(tmp_path / "a"), part(tmp_path / "b")], {"a"})
    assert (left.height, gone) == (0, 0)


write_build = partial(write_any_build, a_shard=2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [
        write_build(folder / "a", [a_sample(n) for n in "abc"], failures=[a_failure("x")]),
        write_build(folder / "b", [a_sample(n, count=12) for n in "defgh"]),
        write_build(folder / "c", [a_sample("i")], failures=[a_failure("y")]),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_sound(folder: Path) -> None:
    assert verify_build(folder, workers=1).problems == []


def test_a_joined_build_holds_all_samples_and_verifies(parts: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "all"
    counts, resolved = merge_builds(parts, out)
    held = {"samples": 9, "videos": 1, "tried_videos": 2, "shards": 6, "failures": 2}
    assert counts.items() >= held.items()
    assert resolved == 0
    assert_sound(out)
    assert [path.name for path in out.parent.iterdir()] == ["all"]
    shards = ShardSet.open(out)
    assert shards.sample_ids == list("abcdefghi")
    for position, (count, name) in enumerate(zip([10] * 3 + [12] * 5 + [10], "abcdefghi", strict=True)):
        sample = shards.read(position)
        assert sample.meta.question.sample_id == name
        np.testing.assert_array_equal(sample.variants, a_sample(name, count=count).variants)
    for table in ("samples", "frames", "failures"):
        joined, *of_parts = (pl.read_parquet(f / f"{table}.parquet") for f in (out, *parts))
        assert joined.drop("shard", strict=False).equals(pl.concat(of_parts).drop("shard", strict=False))
    for part in ("9 samples", "6 shards", "2 failures"):
        assert part in " ".join(build_overview(out).split())
    assert write_report(out, tmp_path / "r.html", Selection(limit=9)) == 9


def test_shards_are_linked_or_copied_but_not_rewritten(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    merge_builds(parts, tmp_path / "linked")
    monkeypatch.setattr(os, "link", no_links)
    merge_builds(parts, tmp_path / "copied")
    assert contents(tmp_path / "linked") == contents(tmp_path / "copied")
    source = parts[1] / "shard-000000.tar"
    assert (tmp_path / "linked" / "shard-000002.tar").samefile(source)
    assert not (tmp_path / "copied" / "shard-000002.tar").samefile(source)


def test_the_record_names_the_parts(parts: list[Path], tmp_path: Path) -> None:
    merge_builds(parts, tmp_path / "all")
    runs = [json.loads((folder / "run.json").read_text()) for folder in (tmp_path / "all", *parts)]
    joined, *of_parts = runs
    assert joined["settings_fingerprint"] == of_parts[0]["settings_fingerprint"]
    assert [part["run_sha256"] for part in joined["parts"]] == [run["sha256"] for run in of_parts]
    assert [part["folder"] for part in joined["parts"]] == ["a", "b", "c"]
    assert joined["seconds"] == 3.0


def test_a_joined_build_can_be_continued(parts: list[Path], tmp_path: Path) -> None:
    """Its manifests and trailing failures settle what those of the parts settled."""
    merge_builds(parts, tmp_path / "all")
    base = build_settings()
    state = read_build_state(tmp_path / "all", replace(base, shard=replace(base.shard, max_samples=2)))
    assert state.complete
    assert list(state.done) == list("abcdefghi")
    assert sorted(state.failed) == ["x", "y"]


def test_a_joined_build_can_be_joined_again(parts: list[Path], tmp_path: Path) -> None:
    merge_builds(parts[:2], tmp_path / "two")
    merge_builds([tmp_path / "two", parts[2]], tmp_path / "three")
    assert_sound(tmp_path / "three")
    assert ShardSet.open(tmp_path / "three").sample_ids == list("abcdefghi")


def test_samples_that_two_builds_hold_are_refused(parts: list[Path], tmp_path: Path) -> None:
    same = write_build(tmp_path / "same", [a_sample(n) for n in "abcdefgz"])
    named = (
        r"7 sample ids in several builds: 'a' in .*/a and .*/same; .*'e' in .*/b and .*/same and 2 more; give"
    )
    with pytest.raises(UsageError, match=named):
        merge_builds([*parts, same], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_failures_go_where_another_part_has_the_sample(parts: list[Path], tmp_path: Path) -> None:
    again = replace(a_failure("c"), kind=FailureKind.DUPLICATE_ID, stage="annotation")
    rows = [a_failure("a"), a_failure("x"), again]
    other = write_build(tmp_path / "other", [a_sample("q")], failures=rows)
    counts, resolved = merge_builds([parts[0], other], tmp_path / "all")
    assert (counts["failures"], resolved) == (2, 1)
    assert pl.read_parquet(tmp_path / "all" / "failures.parquet")["sample_id"].to_list() == ["x", "c"]
    assert_sound(tmp_path / "all")


def test_other_settings_are_named(parts: list[Path], tmp_path: Path) -> None:
    base = build_settings()
    settings = BuildSettings(sampler=replace(base.sampler, seed=7), shard=replace(base.shard, quality=80))
    other = write_build(tmp_path / "other", [a_sample("q")], settings=settings)
    wrong = r"/a has sampler\.seed: 0, now 7; shard\.quality: 90, now 80, in .*/other"
    with pytest.raises(UsageError, match=wrong):
        merge_builds([parts[0], other], tmp_path / "all")
    assert not list(tmp_path.glob("*all*"))


def test_equal_parts_give_equal_bytes(parts: list[Path], tmp_path: Path) -> None:
    merge_builds(parts, tmp_path / "one" / "all")
    moved = [shutil.copytree(part, tmp_path / "elsewhere" / part.name) for part in parts]
    merge_builds(moved, tmp_path / "two" / "all")
    assert contents(tmp_path / "one" / "all") == contents(tmp_path / "two" / "all")


def test_an_interrupted_merge_leaves_no_build_and_can_be_run_again(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "all"

    def stop(done: int, total: int, size_bytes: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_builds(parts, out, observe=stop)
    assert not out.exists()
    assert not list(tmp_path.iterdir())
    # What a merge that was killed leaves is no build, and the next one removes it.
    left = tmp_path / ".all.partial"
    left.mkdir()
    shutil.copy(parts[0] / "shard-000000.tar", left)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(join, "finalize", full)
    with pytest.raises(StriveError, match="disk full: no room left to write"):
        merge_builds(parts, out)
    monkeypatch.undo()
    assert not out.exists()
    merge_builds(parts, out)
    assert_sound(out)
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_damaged_parts_are_refused(parts: list[Path], tmp_path: Path) -> None:
    bad = shutil.copytree(parts[0], tmp_path / "bad")
    rows = pl.read_parquet(bad / "samples.parquet")
    rows.with_columns(answer=pl.lit("A")).write_parquet(bad / "samples.parquet")
    with pytest.raises(DamagedError, match=r"bad/samples\.parquet: .*strive-data verify"):
        merge_builds([bad, parts[1]], tmp_path / "all")
    (bad / "index.parquet").unlink()
    with pytest.raises(DamagedError, match=r"bad/index\.parquet: .* and 1 more: `strive-data verify .*bad`"):
        merge_builds([bad, parts[1]], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("folders", "out", "message"),
    [
        ("a", "all", "got 1 build"),
        ("aa", "all", "named twice"),
        ("ab", "a/inside", "inside one of the builds"),
        ("ab", "a", "inside one of the builds"),
        ("ab", "full", "not an empty folder"),
        ("an", "all", r"no such folder: .*/n"),
        ("af", "all", r"has no run\.json"),
    ],
)
def test_builds_that_cannot_be_joined_are_refused(
    parts: list[Path], tmp_path: Path, folders: str, out: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "f").mkdir()
    known = {"a": parts[0], "b": parts[1], "n": tmp_path / "n", "f": tmp_path / "f"}
    goal = parts[0] / out.removeprefix("a").strip("/") if out in ("a", "a/inside") else tmp_path / out
    with pytest.raises(UsageError, match=message):
        merge_builds([known[name] for name in folders], goal)


def test_parts_without_samples_and_an_empty_goal_are_fine(parts: list[Path], tmp_path: Path) -> None:
    nothing = write_build(tmp_path / "nothing", [], failures=[a_failure("x"), a_failure("w")])
    (tmp_path / "all").mkdir()
    counts, _ = merge_builds([nothing, parts[0]], tmp_path / "all")
    assert (counts["samples"], counts["failures"]) == (3, 2)
    assert_sound(tmp_path / "all")


def strive_data(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "strive-data"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_builds_are_joined_verified_and_found_damaged(tmp_path: Path) -> None:
    first = write_any_build(tmp_path / "a", [a_sample("1"), a_sample("2")])
    second = write_any_build(tmp_path / "b", [a_sample("3")], failures=[a_failure("2")])
    out = tmp_path / "all"
    joined = strive_data("merge", first, second, "--out", out)
    assert (joined.returncode, joined.stderr) == (0, "")
    assert joined.stdout.splitlines() == [
        f"{out}: 3 samples of 1 video in 2 shards, 0 failures, of 2 builds",
        "  dropped, because another build has the sample: 1 failure",
    ]
    sound = strive_data("verify", out, "--workers", 1)
    assert sound.returncode == 0
    assert sound.stdout.startswith(f"{out}: no problem; read 2 shards, 3 samples, ")
    (out / "shard-000001.tar").unlink()
    damaged = strive_data("verify", out, "--workers", 1)
    assert damaged.returncode == 1
    assert damaged.stdout.startswith(f"{out}/shard-000001.tar: there is no such file")
    assert "problem" in damaged.stdout.splitlines()[-1]
