from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.build.merge import list_some, plan_merge, read_part, require_same_settings
from strive_data.errors import DamagedError, FailureKind, UsageError
from strive_data.schema import FailedRow
from strive_data.shards.manifest import Entry, Manifest
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_sample, build_settings

FAILURE = FailedRow(
    sample_id="x",
    row=4,
    video="v.mp4",
    stage="decode",
    kind=FailureKind.CRASH,
    message="died",
    question_hash="q",
)


def shard(number: int, *samples: str) -> Manifest:
    """A manifest of samples "id" or "id=content"."""
    entries = tuple(Entry(sample_id=name.split("=")[0], offset=0, length=1, sha256=name) for name in samples)
    return Manifest(
        schema_version=1,
        shard=f"shard-{number:06d}.tar",
        settings="s",
        size_bytes=1,
        sha256="h",
        samples=entries,
        failures=(FAILURE,),
    )


def test_shards_are_numbered_on_in_the_order_of_the_parts() -> None:
    plan = plan_merge([[shard(0, "a", "b"), shard(1, "c")], [shard(0, "d")]], ["A", "B"], "refuse")
    assert [(move.part, move.manifest.shard, move.shard, move.is_whole) for move in plan.moves] == [
        (0, "shard-000000.tar", "shard-000000.tar", True),
        (0, "shard-000001.tar", "shard-000001.tar", True),
        (1, "shard-000000.tar", "shard-000002.tar", True),
    ]
    assert plan.repeated == 0
    assert plan.failures == ()


def test_a_sample_of_the_same_bytes_is_taken_once() -> None:
    parts = [[shard(0, "a")], [shard(0, "b", "a"), shard(1, "a", "c")], [shard(0, "c")]]
    plan = plan_merge(parts, ["A", "B", "C"], "refuse")
    kept = [[entry.sample_id for entry in move.kept] for move in plan.moves]
    assert kept == [["a"], ["b"], ["c"]]
    assert [move.is_whole for move in plan.moves] == [True, False, False]
    assert plan.repeated == 3
    assert plan.failures == (FAILURE,)  # of the shard of C, of which nothing is kept


def test_one_id_with_two_contents_is_refused_or_the_first_is_right() -> None:
    parts = [[shard(0, "a=1")], [shard(0, "a=2", "b")]]
    with pytest.raises(UsageError, match="1 sample id: 'a' in A and B; --duplicates first"):
        plan_merge(parts, ["A", "B"], "refuse")
    plan = plan_merge(parts, ["A", "B"], "first")
    assert [[entry.sha256 for entry in move.kept] for move in plan.moves] == [["a=1"], ["b"]]
    assert plan.conflicts == ("'a' in A and B",)


def test_the_first_of_many_conflicts_are_named() -> None:
    assert list_some(["a", "b"]) == "a; b"
    assert list_some([str(i) for i in range(7)]) == "0; 1; 2; 3; 4 and 2 more"


def test_a_part_is_its_record_and_its_manifests(tmp_path: Path) -> None:
    part = read_part(write_build(tmp_path / "a", [a_sample(name) for name in "abc"], a_shard=2))
    assert [len(manifest.samples) for manifest in part.state.manifests] == [2, 1]
    assert part.run["counts"]["samples"] == 3
    require_same_settings([part])


def test_a_changed_file_is_named_and_the_others_counted(tmp_path: Path) -> None:
    folder = write_build(tmp_path / "a", [a_sample("a")])
    (folder / "index.parquet").unlink()
    with pytest.raises(DamagedError, match=r"a/index\.parquet: .*no such file"):
        read_part(folder)
    (folder / "samples.parquet").write_bytes(b"x")
    with pytest.raises(DamagedError, match=r"and 1 more: `strive-data verify .*a`"):
        read_part(folder)


def test_what_is_no_finished_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_part(tmp_path / "absent")


def test_each_setting_that_differs_is_named_with_both_builds(tmp_path: Path) -> None:
    base = build_settings()
    other = replace(base, sampler=replace(base.sampler, seed=7), shard=replace(base.shard, quality=80))
    parts = [
        read_part(write_build(tmp_path / name, [a_sample("a")], settings=settings))
        for name, settings in (("a", base), ("b", other))
    ]
    with pytest.raises(UsageError) as raised:
        require_same_settings(parts)
    for part in ("/a", "/b", "sampler.seed: 0, now 7", "shard.quality: 90, now 80"):
        assert part in str(raised.value)
