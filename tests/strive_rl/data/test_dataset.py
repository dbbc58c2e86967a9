"""Several builds as one, and their groups read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import current_thread
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest

from strive_data.config import SamplerSettings
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.config import DataSettings
from strive_rl.data import Builds, Cursor, Loader, next_batch
from strive_rl.data.views import plan_views, training_group
from strive_rl.eval.frames import trained_videos
from strive_rl.schema import Group
from tests.strive_rl.made.shards import SAMPLED, SETTINGS, make_shards


def test_samples_of_several_builds_follow_each_other(tmp_path: Path) -> None:
    one, other = make_shards(tmp_path / "a", samples=5), make_shards(tmp_path / "b", samples=3, answers="B")
    both = Builds([one, other])
    assert (len(both), both.blocks) == (8, (4, 1, 3))
    assert [both.locate(i) for i in (0, 4, 5, 7)] == [(0, 0), (0, 4), (1, 0), (1, 2)]
    located = [both.locate(i) for i in range(8)]
    assert [both.parts[part].sample_ids[place] for part, place in located] == [
        "q0",
        "q1",
        "q2",
        "q3",
        "q4",
        "q0",
        "q1",
        "q2",
    ]
    read = [both.parts[part].read(place).meta.question.answer for part, place in located]
    assert [read[i] for i in (0, 1, 4, 5, 7)] == ["A", "B", "A", "B", "B"]
    assert both.folder == f"{tmp_path / 'a'}, {tmp_path / 'b'}"


def test_a_fingerprint_is_that_of_all_in_their_order(tmp_path: Path) -> None:
    one, other = make_shards(tmp_path / "a", samples=5), make_shards(tmp_path / "b", samples=3)
    assert Builds(one).fingerprint == one.fingerprint
    prints = {Builds(each).fingerprint for each in (one, other, [one, other], [other, one])}
    assert len(prints) == 4


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    one = make_shards(tmp_path / "a")
    with pytest.raises(UsageError, match=r"/a: another --shards has the same samples"):
        Builds([one, one])
    with pytest.raises(UsageError, match=r"/empty: the build holds no sample to train on"):
        Builds(make_shards(tmp_path / "empty", samples=0))


def test_each_build_has_its_own_plan_and_one_that_has_none_is_named(tmp_path: Path) -> None:
    longer = replace(SETTINGS, sampler=replace(SETTINGS.sampler, frames=6))
    sampled = replace(SAMPLED, sampler=replace(SamplerSettings(), frames=4, variants=2))
    parts = [
        make_shards(tmp_path / name, settings=settings)
        for name, settings in (("a", SETTINGS), ("b", longer), ("c", sampled))
    ]
    plans = Builds(parts).plans(DataSettings())
    assert [(plan.sampler.frames, plan.drawn) for plan in plans] == [(4, True), (6, True), (4, False)]
    with pytest.raises(UsageError, match=r"/c: data\.draw=epoch: these shards hold only the sampled frames"):
        Builds(parts).plans(DataSettings(draw="epoch"))


def test_neighbours_are_refused_before_a_run_begins_where_not_all_frames_are_held(tmp_path: Path) -> None:
    settings = DataSettings(variants=SAMPLED.sampler.variants)
    parts = [make_shards(tmp_path / "a"), make_shards(tmp_path / "b", settings=SAMPLED)]
    assert [plan.neighbours for plan in Builds(parts[:1]).plans(settings, neighbours=True)] == [True]
    assert not Builds(parts).plans(settings)[1].neighbours
    with pytest.raises(UsageError, match=r"/b: policy\.frame_pairs=neighbours: .* shard\.frames=all"):
        Builds(parts).plans(settings, neighbours=True)


def test_held_out_videos_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    videos = {"a": ["v0", "v0", "v1"], "b": ["v2", "v3"], "held": ["v1", "v2", "v2", "v9"], "new": ["v8"]}
    opened = {name: make_shards(tmp_path / name, samples=2 + i) for i, name in enumerate([*videos, "bare"])}
    for name, ids in videos.items():
        pl.DataFrame({"video_id": ids}).write_parquet(tmp_path / name / "samples.parquet")
    both = Builds([opened["a"], opened["b"]])
    said = trained_videos(both, opened["held"])
    assert said.startswith("2 of 3 held-out videos are trained on: accuracy will be too high")
    assert f"`strive-data overlap {tmp_path}/a {tmp_path}/held`" in said
    assert trained_videos(both, opened["new"]) == ""
    assert "is not known: no such file" in trained_videos(both, opened["bare"])


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """Seven samples in shards of four and three."""
    return make_shards(tmp_path / "shards", samples=7)


def loader(shards: ShardSet, rank: int = 0, world_size: int = 1, **data: Any) -> Loader:
    settings = DataSettings(**({"questions_per_step": 3} | data))
    return Loader(Builds(shards), settings, seed=5, rank=rank, world_size=world_size)


def shown(groups: Iterator[Group] | tuple[Group, ...]) -> list[tuple[Any, ...]]:
    """What a policy sees of groups, to be compared."""
    return [
        (
            group.question.sample_id,
            [view.times.tolist() for view in group.views],
            [view.frames.tobytes() for view in group.views],
        )
        for group in groups
    ]


def run(of: Loader, steps: int, **asked: Any) -> list[list[tuple[Any, ...]]]:
    """What is shown in each of `steps` batches."""
    cursor, made = Cursor(), []
    with closing(of):
        for _ in range(steps):
            groups, _, cursor = of.take(cursor, **asked)
            made.append(shown(groups))
    return made


def test_a_batch_holds_the_groups_of_its_references(shards: ShardSet) -> None:
    """Oracle: the plan, a read and a draw for each reference, one after the other."""
    of = loader(shards)
    plan = plan_views(shards.settings, DataSettings())
    cursor, expected = Cursor(), []
    for _ in range(5):
        refs, cursor = next_batch(cursor, of.stream)
        groups = [training_group(shards.read(ref.position), plan, seed=5, epoch=ref.epoch) for ref in refs]
        expected.append(shown(tuple(groups)))
    assert run(of, 5) == expected


@pytest.mark.parametrize("changes", [{"prefetch": 0}, {"prefetch": 3}, {"threads": 1}, {"threads": 5}])
def test_reading_ahead_changes_nothing(shards: ShardSet, changes: dict[str, int]) -> None:
    assert run(loader(shards, **changes), 6) == run(loader(shards), 6)


def test_the_threads_that_read_also_prepare(shards: ShardSet) -> None:
    of, by = loader(shards), set[str]()

    def named(group: Group) -> Group:
        by.add(current_thread().name)
        return replace(group, question=replace(group.question, question="Prepared?"))

    of.prepare = named
    with closing(of):
        groups, _, _ = of.take(Cursor())
    assert [group.question.question for group in groups] == ["Prepared?"] * 3
    assert by
    assert all(name.startswith("strive-data-loader") for name in by)


def test_reading_ahead_is_bounded(shards: ShardSet) -> None:
    with closing(loader(shards, prefetch=2)) as of:
        cursor = Cursor()
        for _ in range(4):
            _, _, cursor = of.take(cursor)
            assert len(of._pending) == 2 * 3


def test_a_cursor_may_jump(shards: ShardSet) -> None:
    """A resumed run, and a step that took more questions than a batch, read from where they are."""
    with closing(loader(shards)) as of:
        first, _, after = of.take(Cursor())
        extra, _, end = of.take(after, size=2)
        again, _, same = of.take(Cursor())
        assert shown(again) == shown(first)
        assert same == after
    with closing(loader(shards)) as of:
        both, _, cursor = of.take(Cursor(), size=5)
        assert shown(both) == shown(first + extra)
        assert cursor == end


def test_ranks_read_their_slices_of_the_global_batch(shards: ShardSet) -> None:
    whole = run(loader(shards), 5)
    ranks = [run(loader(shards, rank, 2), 5) for rank in range(2)]
    assert [one + other for one, other in zip(*ranks, strict=True)] == whole


def flip(path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    return "the shard is damaged"


def cut(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:3000])
    return "cut short"


def remove(path: Path) -> str:
    path.unlink()
    return "no such file"


@pytest.mark.parametrize("damage", [flip, cut, remove])
def test_a_broken_shard_stops_the_run_or_is_skipped_and_counted(shards: ShardSet, damage: Any) -> None:
    whole = run(loader(shards), 5)
    reason = damage(Path(str(shards.folder)) / "shard-000001.tar")
    with pytest.raises(DamagedError, match=rf"shard-000001\.tar.* {reason}.*; .* data\.broken=skip"):
        run(loader(shards), 5)
    cursor, made, broken = Cursor(), [], []
    with closing(loader(shards, broken="skip")) as of:
        for _ in range(5):
            groups, lost, cursor = of.take(cursor)
            made.append(shown(groups))
            broken.append([each.sample_id for each in lost])
            assert all(reason in each.reason and "shard-000001.tar" in each.reason for each in lost)
    gone = {sample_id for each in broken for sample_id in each}
    assert gone <= {"q4", "q5", "q6"}
    assert made == [[group for group in batch if group[0] not in gone] for batch in whole]
    assert [len(one) + len(other) for one, other in zip(made, broken, strict=True)] == [3] * 5


def test_damage_that_is_read_ahead_stops_only_the_step_that_needs_it(shards: ShardSet) -> None:
    with closing(loader(shards, prefetch=5)) as of:
        positions = [next_batch(Cursor(epoch=0, taken=i), of.stream, 1)[0][0].position for i in range(7)]
        first_bad = next(i for i, position in enumerate(positions) if position >= 4)
        remove(Path(str(shards.folder)) / "shard-000001.tar")
        cursor = Cursor()
        for _ in range(first_bad):
            _, _, cursor = of.take(cursor, size=1)
        with pytest.raises(DamagedError, match="no such file"):
            of.take(cursor, size=1)


def test_a_url_with_a_cache_gives_the_same_batches(shards: ShardSet, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(shards.folder), "/loader/build", recursive=True)
    remote = ShardSet.open("memory://loader/build", tmp_path / "cache")
    assert run(loader(remote, window=3, threads=4), 6) == run(loader(shards, window=3), 6)
    assert len(list((tmp_path / "cache").rglob("*.tar"))) == 2
    memory.rm("/loader", recursive=True)


def test_times_of_a_group_differ_between_epochs(shards: ShardSet) -> None:
    made = run(loader(shards, questions_per_step=7), 2)
    first, second = ({group[0]: group[1] for group in batch} for batch in made)
    assert first.keys() == second.keys()
    assert any(not np.array_equal(first[name], second[name]) for name in first)
