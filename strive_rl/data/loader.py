"""The groups of each step, read and decoded by background threads while the previous step runs.

Reading ahead changes the waiting time alone: a batch is a function of the cursor, and the cursor moves over
taken batches only. The memory is bounded by `data.prefetch` + 1 batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from strive_data.errors import DamagedError
from strive_data.sampling.registry import ORDERED
from strive_data.schema import Sample
from strive_rl.config import DataSettings
from strive_rl.data.dataset import Builds
from strive_rl.data.sampler import Cursor, Stream, next_batch, rank_slice
from strive_rl.data.views import training_group
from strive_rl.schema import Group, SampleRef, SkippedQuestion

STOPPED = "`strive-data verify` lists all damage; data.broken=skip leaves such questions out"


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """This rank's part of a global batch: its groups in the order of the stream, its damaged questions
    (`data.broken = "skip"`), and the cursor after the global batch."""

    groups: tuple[Group, ...]
    broken: tuple[SkippedQuestion, ...]
    after: Cursor


Loaded = tuple[Sample, Group] | SkippedQuestion


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
        self._rank, self._world_size = rank, world_size
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[SampleRef, tuple[float | None, Future[Loaded]]] = {}

    def take(
        self,
        cursor: Cursor,
        *,
        size: int | None = None,
        alpha: float | None = None,
        next_alpha: float | None = None,
    ) -> Batch:
        """The batch at `cursor`, or the `size` questions there; reading of the next batches starts.

        `alpha` overrides the sampler's for this batch (needs variants that are drawn each epoch).
        `next_alpha` is the α expected of the next call, for which frames are decoded ahead: a wrong value
        costs time and never changes a result. Raises DamagedError for damaged stored data where
        `data.broken = "stop"`.
        """
        refs, after = next_batch(cursor, self.stream, size)
        mine = rank_slice(refs, self._rank, self._world_size)
        self._read_ahead(mine, alpha, after, next_alpha)
        loaded = [self._result(ref, alpha) for ref in mine]
        return Batch(
            groups=tuple(each[1] for each in loaded if not isinstance(each, SkippedQuestion)),
            broken=tuple(each for each in loaded if isinstance(each, SkippedQuestion)),
            after=after,
        )

    @property
    def alpha(self) -> float | None:
        """The α that variants are drawn with; None for stored variants and for builds of several α."""
        drawn = all(plan.drawn and plan.sampler.name in ORDERED for plan in self._plans)
        alphas = {plan.sampler.alpha for plan in self._plans}
        return alphas.pop() if drawn and len(alphas) == 1 else None

    def close(self) -> None:
        """Stop reading ahead; the next `take` starts it again."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._pending = None, {}

    def _read_ahead(
        self, mine: Iterable[SampleRef], alpha: float | None, after: Cursor, next_alpha: float | None
    ) -> None:
        """Start the reads that are not pending, this batch's first; drop pending ones of other batches."""
        self._pool = self._pool or ThreadPoolExecutor(self._settings.threads, "strive-data-loader")
        wanted: dict[SampleRef, float | None] = {}
        for _ in range(self._settings.prefetch):
            refs, after = next_batch(after, self.stream)
            wanted |= dict.fromkeys(rank_slice(refs, self._rank, self._world_size), next_alpha)
        wanted |= dict.fromkeys(mine, alpha)
        for ref in self._pending.keys() - wanted.keys():
            self._pending.pop(ref)[1].cancel()
        for ref in (*mine, *wanted):
            if ref not in self._pending:
                self._pending[ref] = wanted[ref], self._pool.submit(self._load, ref, wanted[ref])

    def _result(self, ref: SampleRef, alpha: float | None) -> Loaded:
        """The group of a pending read; its frames are decoded again where it expected another α."""
        expected, future = self._pending.pop(ref)
        if expected == alpha:
            return future.result()
        loaded = None if future.exception() else future.result()
        return self._load(ref, alpha, loaded[0] if isinstance(loaded, tuple) else None)

    def _load(self, ref: SampleRef, alpha: float | None, sample: Sample | None = None) -> Loaded:
        try:
            sample = sample or self.builds.read(ref.position)
            plan = self._plans[self.builds.locate(ref.position)[0]]
            drawn = training_group(sample, plan, seed=self.stream.seed, epoch=ref.epoch, alpha=alpha)
            return sample, replace(drawn, ref=ref)
        except DamagedError as error:
            if self._settings.broken == "stop":
                raise DamagedError(f"{error}; {STOPPED}") from error
            return SkippedQuestion(sample_id=self.builds.sample_id(ref.position), reason=str(error))
