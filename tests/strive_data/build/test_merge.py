"""Joined builds: whole, verified, readable, the same bytes each time, and never half there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.build import merge as join
from strive_data.build.merge import MergeSummary, ShardMove, join_failures, merge_builds, move_shard
from strive_data.build.verify import verify_build
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, FailureKind, StriveError, UsageError
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.tables import build_overview
from strive_data.schema import FailedRow
from strive_data.shards.build_state import read_build_state
from strive_data.shards.format import decode_sample
from strive_data.shards.manifest import Manifest, read_manifest
from strive_data.shards.reader import ShardSet
from strive_data.shards.writer import failures_table
from tests.strive_data.made.builds import write_build as write_any_build
from tests.strive_data.made.samples import a_sample, build_settings


def part(folder: Path, *rows: tuple[str, FailureKind]) -> Path:
    folder.mkdir()
    failures = [
        FailedRow(sample_id=name, row=4, video="v.mp4", stage="decode", kind=kind, message="died")
        for name, kind in rows
    ]
    failures_table(failures).write_parquet(folder / "failures.parquet")
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


def failure(sample_id: str, message: str = "died") -> FailedRow:
    return FailedRow(
        sample_id=sample_id, row=4, video="v.mp4", stage="decode", kind=FailureKind.CRASH, message=message
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [
        write_build(folder / "a", [a_sample(n) for n in "abc"], failures=[failure("x")]),
        write_build(folder / "b", [a_sample(n, count=12) for n in "defgh"]),
        write_build(folder / "c", [a_sample("i")], failures=[failure("y")]),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_sound(folder: Path) -> None:
    assert verify_build(folder, workers=1).problems == ()


def test_a_joined_build_holds_all_samples_and_verifies(parts: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "all"
    summary = merge_builds(parts, out)
    assert summary == MergeSummary(counts=summary.counts, repeated=0, conflicts=(), resolved=0)
    held = {"samples": 9, "videos": 1, "tried_videos": 2, "shards": 6, "failures": 2}
    assert summary.counts.items() >= held.items()
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


def test_shards_are_linked_or_copied_but_not_rewritten(parts: list[Path], tmp_path: Path) -> None:
    merge_builds(parts, tmp_path / "linked")
    merge_builds(parts, tmp_path / "copied", copy=True)
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


def test_equal_samples_are_taken_once_and_others_refused(parts: list[Path], tmp_path: Path) -> None:
    same = write_build(tmp_path / "same", [a_sample(n) for n in ("z", "b", "y")])
    summary = merge_builds([parts[0], same], tmp_path / "once")
    assert (summary.counts["samples"], summary.repeated) == (5, 1)
    assert_sound(tmp_path / "once")
    assert ShardSet.open(tmp_path / "once").sample_ids == ["a", "b", "c", "z", "y"]
    other = write_build(tmp_path / "other", [a_sample(n, count=12) for n in ("a", "z")])
    with pytest.raises(UsageError, match=r"1 sample id: 'a' in .*/a and .*/other; --duplicates first"):
        merge_builds([parts[0], other], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    summary = merge_builds([parts[0], other], tmp_path / "first", duplicates="first")
    assert (summary.counts["samples"], summary.repeated, summary.counts["shards"]) == (4, 0, 3)
    assert summary.conflicts == (f"'a' in {parts[0]} and {other}",)
    assert_sound(tmp_path / "first")
    shards = ShardSet.open(tmp_path / "first")
    assert (shards.sample_ids, len(shards.read(0).times)) == (["a", "b", "c", "z"], 10)


def test_a_build_that_adds_nothing_adds_no_shard(parts: list[Path], tmp_path: Path) -> None:
    twin = write_build(tmp_path / "twin", [a_sample(n) for n in "ab"])
    assert merge_builds([parts[0], twin], tmp_path / "all").counts["shards"] == 2
    assert_sound(tmp_path / "all")


def test_failures_go_where_another_part_has_the_sample(parts: list[Path], tmp_path: Path) -> None:
    again = replace(failure("c"), kind=FailureKind.DUPLICATE_ID, stage="annotation")
    rows = [failure("a"), failure("x"), again]
    other = write_build(tmp_path / "other", [a_sample("q")], failures=rows)
    summary = merge_builds([parts[0], other], tmp_path / "all")
    assert (summary.counts["failures"], summary.resolved) == (2, 1)
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
    bad = shutil.copytree(parts[0], tmp_path / "bad2")
    content = bytearray((bad / "shard-000001.tar").read_bytes())
    content[900] ^= 1
    (bad / "shard-000001.tar").write_bytes(content)
    with pytest.raises(DamagedError, match=r"shard-000001\.tar is not what its manifest says"):
        merge_builds([bad, parts[1]], tmp_path / "all", copy=True)
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
    nothing = write_build(tmp_path / "nothing", [], failures=[failure("x"), failure("w")])
    (tmp_path / "all").mkdir()
    summary = merge_builds([nothing, parts[0]], tmp_path / "all")
    assert (summary.counts["samples"], summary.counts["failures"]) == (3, 2)
    assert_sound(tmp_path / "all")


OLD, NEW = "shard-000000", "shard-000004"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return write_any_build(tmp_path / "source", [a_sample(name) for name in "abc"])


def move(source: Path, *kept: str) -> ShardMove:
    manifest = read_manifest(source / f"{OLD}.json")
    entries = tuple(entry for entry in manifest.samples if entry.sample_id in kept)
    return ShardMove(part=0, manifest=manifest, shard=f"{NEW}.tar", kept=entries)


def assert_recorded(manifest: Manifest, out: Path) -> None:
    """The manifest on the disk is the one given, and its sizes and hashes are those of the files."""
    assert read_manifest(out / f"{NEW}.json") == manifest
    for name, size, digest in (
        (manifest.shard, manifest.size_bytes, manifest.sha256),
        *((name, part.size_bytes, part.sha256) for name, part in manifest.parts.items()),
    ):
        content = (out / name).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (size, digest)


@pytest.mark.parametrize("copy", [False, True])
def test_a_whole_shard_keeps_its_bytes_under_another_name(source: Path, copy: bool) -> None:
    out = source.parent / "out"
    manifest = move_shard(move(source, *"abc"), source, out, copy=copy)
    assert_recorded(manifest, out)
    assert (out / f"{NEW}.tar").samefile(source / f"{OLD}.tar") is not copy
    assert (out / f"{NEW}.tar").read_bytes() == (source / f"{OLD}.tar").read_bytes()
    assert manifest.samples == read_manifest(source / f"{OLD}.json").samples
    rows = pl.read_parquet(out / f"{NEW}.samples.parquet")
    assert rows["shard"].to_list() == [f"{NEW}.tar"] * 3


def test_dropped_samples_leave_no_gap(source: Path) -> None:
    out = source.parent / "out"
    manifest = move_shard(move(source, "a", "c"), source, out, copy=False)
    assert_recorded(manifest, out)
    first, second = manifest.samples
    assert (first.sample_id, first.offset) == ("a", 0)
    assert (second.sample_id, second.offset) == ("c", first.length)
    content = (out / f"{NEW}.tar").read_bytes()
    assert len(content) == first.length + second.length + 1024
    kept = decode_sample(content[second.offset : second.offset + second.length])
    assert kept.meta.question.sample_id == "c"
    for table, height in (("samples", 2), ("frames", 20)):
        rows = pl.read_parquet(out / f"{NEW}.{table}.parquet")
        assert (rows.height, set(rows["sample_id"])) == (height, {"a", "c"})


@pytest.mark.parametrize("kept", ["abc", "ac"])
def test_bytes_other_than_those_of_the_manifest_are_damage(source: Path, kept: str) -> None:
    moved, path = move(source, *kept), source / f"{OLD}.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"shard-000000\.tar"):
        move_shard(moved, source, source.parent / "out", copy=True)
    assert not (source.parent / "out" / f"{NEW}.tar").exists()


def strive_data(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "strive-data"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_builds_are_joined_verified_and_found_damaged(tmp_path: Path) -> None:
    first = write_any_build(tmp_path / "a", [a_sample("1"), a_sample("2")])
    second = write_any_build(tmp_path / "b", [a_sample("2"), a_sample("3")])
    out = tmp_path / "all"
    joined = strive_data("merge", first, second, "--out", out)
    assert (joined.returncode, joined.stderr) == (0, "")
    assert joined.stdout.splitlines() == [
        f"{out}: 3 samples of 1 video in 2 shards, 0 failures, of 2 builds",
        "  in several builds, taken once: 1 sample",
    ]
    # Regression: a dropped version was counted as taken once, and was not named.
    other = write_any_build(tmp_path / "c", [a_sample("1", count=12), a_sample("2")])
    chosen = strive_data("merge", first, other, "--out", tmp_path / "two", "--duplicates", "first")
    assert chosen.stdout.splitlines()[1:] == [
        "  in several builds, taken once: 1 sample",
        f"  other content in a later build, dropped: 1 sample: '1' in {first} and {other}",
    ]
    sound = strive_data("verify", out, "--workers", 1)
    assert sound.returncode == 0
    assert sound.stdout.startswith(f"{out}: no problem; read 2 shards, 3 samples, ")
    (out / "shard-000001.tar").unlink()
    damaged = strive_data("verify", out, "--workers", 1)
    assert damaged.returncode == 1
    assert damaged.stdout.startswith(f"{out}/shard-000001.tar: there is no such file")
    assert "problem" in damaged.stdout.splitlines()[-1]
    again = strive_data("merge", first, second, "--out", out, "--duplicates", "last")
    assert again.returncode == 2
    assert "'last'" in again.stderr
