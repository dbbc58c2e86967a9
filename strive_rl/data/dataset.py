"""Several builds as one sequence of samples, and the groups of each step, read ahead by threads.

A batch is a function of the cursor, which moves over taken batches only: reading ahead changes the waiting
time alone. The memory is bounded by `data.prefetch` + 1 batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate

from strive_data.errors import DamagedError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.config import DataSettings
from strive_rl.data.sampler import Cursor, Stream, next_batch, rank_slice
from strive_rl.data.views import ViewPlan, plan_views, training_group
from strive_rl.schema import Group, SampleRef, SkippedQuestion

STOPPED = "`strive-data verify` lists all damage; data.broken=skip leaves such questions out"

Loaded = Group | SkippedQuestion


class Builds:
    """One or more builds read as one; sample ids may occur in several of them."""

    def __init__(self, shards: ShardSet | Sequence[ShardSet]) -> None:
        parts = [shards] if isinstance(shards, ShardSet) else shards
        fingerprints = [part.fingerprint for part in parts]
        twice = next((part for i, part in enumerate(parts) if part.fingerprint in fingerprints[:i]), None)
        if twice:
            raise UsageError(
                f"--shards {twice.folder}: another --shards has the same samples: name each build once"
            )
        self.parts, self.folder = tuple(parts), ", ".join(str(part.folder) for part in parts)
        if not any(map(len, parts)):
            raise UsageError(f"{self.folder}: the build holds no sample to train on")
        joined = sha256("".join(fingerprints).encode()).hexdigest()[:16]
        self.fingerprint = joined if len(parts) > 1 else fingerprints[0]
        self.blocks = tuple(size for part in parts for size in part.blocks)
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def locate(self, position: int) -> tuple[int, int]:
        """(number of the build, position in it) of a sample."""
        part = bisect_right(self._ends, position)
        return part, position - (self._ends[part - 1] if part else 0)

    def plans(self, settings: DataSettings, *, neighbours: bool = False) -> tuple[ViewPlan, ...]:
        """How to make each build's views. Raises UsageError that names a build that cannot give them."""
        plans = []
        for part in self.parts:
            try:
                plans.append(plan_views(part.settings, settings, neighbours=neighbours))
            except UsageError as error:
                raise UsageError(f"{part.folder}: {error}") from error
        return tuple(plans)


class Loader:
    """Gives batches of groups by cursor, to each rank of `world_size` processes its own slice. `neighbours`
    as in `views.group_of`. The threads also run `prepare` on each group, where it is set."""

    def __init__(
        self,
        builds: Builds,
        settings: DataSettings,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        neighbours: bool = False,
    ) -> None:
        self.builds = builds
        self.stream = Stream(
            blocks=builds.blocks,
            seed=seed,
            batch_size=settings.questions_per_step,
            window=settings.window,
            fingerprint=builds.fingerprint,
        )
        self._settings = settings
        self._plans = builds.plans(settings, neighbours=neighbours)
        self._part = rank, world_size
        self.prepare: Callable[[Group], Group] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[SampleRef, Future[Loaded]] = {}

    def take(
        self, cursor: Cursor, size: int | None = None
    ) -> tuple[list[Group], list[SkippedQuestion], Cursor]:
        """This rank's groups of the global batch at `cursor`, or of the `size` questions there, its damaged
        questions, and the cursor after the global batch. Starts to read the next batches.

        Raises DamagedError for damaged stored data where `data.broken = "stop"`.
        """
        refs, after = next_batch(cursor, self.stream, size)
        mine = rank_slice(refs, *self._part)
        self._read_ahead(mine, after)
        loaded = [self._pending.pop(ref).result() for ref in mine]
        groups = [each for each in loaded if isinstance(each, Group)]
        return groups, [each for each in loaded if isinstance(each, SkippedQuestion)], after

    def close(self) -> None:
        """Stop reading ahead; the next `take` starts it again."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._pending = None, {}

    def _read_ahead(self, mine: Iterable[SampleRef], after: Cursor) -> None:
        """Start the reads that are not pending, this batch's first; drop pending ones of other batches."""
        self._pool = self._pool or ThreadPoolExecutor(self._settings.threads, "strive-data-loader")
        wanted = dict.fromkeys(mine)
        for _ in range(self._settings.prefetch):
            refs, after = next_batch(after, self.stream)
            wanted |= dict.fromkeys(rank_slice(refs, *self._part))
        for ref in self._pending.keys() - wanted.keys():
            self._pending.pop(ref).cancel()
        for ref in wanted:
            if ref not in self._pending:
                self._pending[ref] = self._pool.submit(self._load, ref)

    def _load(self, ref: SampleRef) -> Loaded:
        part, place = self.builds.locate(ref.position)
        shards = self.builds.parts[part]
        try:
            sample, plan = shards.read(place), self._plans[part]
            group = replace(training_group(sample, plan, seed=self.stream.seed, epoch=ref.epoch), ref=ref)
            return self.prepare(group) if self.prepare else group
        except DamagedError as error:
            if self._settings.broken == "stop":
                raise DamagedError(f"{error}; {STOPPED}") from error
            return SkippedQuestion(sample_id=shards.sample_ids[place], reason=str(error))


def multiples_of(*shards: ShardSet) -> dict[str, int]:
    """Of how many pixels the sides of each build's frames are multiples, by its name."""
    return {str(part.folder): int(part.settings["decode"]["multiple"]) for part in shards}
