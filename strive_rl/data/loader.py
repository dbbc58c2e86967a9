"""The groups of each step, read and decoded by background threads while the previous step runs.

Reading ahead changes the waiting time alone: a batch is a function of the cursor, and the cursor moves over
taken batches only. The memory is bounded by `data.prefetch` + 1 batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from strive_data.errors import DamagedError
from strive_rl.config import DataSettings
from strive_rl.data.dataset import Builds
from strive_rl.data.sampler import Cursor, Stream, next_batch, rank_slice
from strive_rl.data.views import training_group
from strive_rl.schema import Group, SampleRef, SkippedQuestion

STOPPED = "`strive-data verify` lists all damage; data.broken=skip leaves such questions out"

Loaded = Group | SkippedQuestion


class Loader:
    """Gives batches of groups by cursor. Each rank of `world_size` processes reads its own slice.

    `neighbours` adds the next candidate to each frame.
    """

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
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[SampleRef, Future[Loaded]] = {}

    def take(
        self, cursor: Cursor, size: int | None = None
    ) -> tuple[list[Group], list[SkippedQuestion], Cursor]:
        """This rank's groups of the global batch at `cursor`, or of the `size` questions there; its damaged
        questions (`data.broken = "skip"`), and the cursor after the global batch. Reading of the next batches
        starts.

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
        try:
            plan = self._plans[self.builds.locate(ref.position)[0]]
            sample = self.builds.read(ref.position)
            return replace(training_group(sample, plan, seed=self.stream.seed, epoch=ref.epoch), ref=ref)
        except DamagedError as error:
            if self._settings.broken == "stop":
                raise DamagedError(f"{error}; {STOPPED}") from error
            return SkippedQuestion(sample_id=self.builds.sample_id(ref.position), reason=str(error))
