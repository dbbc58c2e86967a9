"""Batches by cursor: the same read ahead or not, on one rank or several, with and without damage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from strive_data.errors import DamagedError
from strive_data.shards.reader import ShardSet
from strive_rl.config import DataSettings
from strive_rl.data import Builds, Cursor, Loader, next_batch
from strive_rl.data.views import plan_views, training_group
from strive_rl.schema import Group
from tests.strive_rl.made.shards import make_shards


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
