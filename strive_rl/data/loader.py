"""The groups of each step, read and decoded by background threads while the step before it runs.

Reading ahead changes nothing but the waiting: a batch is a function of the cursor, and only batches that
were taken move it. The memory is bounded by `data.prefetch` + 1 batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from strive_data.errors import DamagedError
from strive_data.sampling.registry import WALKERS
from strive_data.schema import Sample
from strive_rl.config import DataSettings
from strive_rl.data.dataset import Builds
from strive_rl.data.sampler import Cursor, Stream, next_batch, rank_slice
from strive_rl.data.views import training_group, with_clean_view
from strive_rl.schema import Group, SampleRef

STOPPED = "`strive-data verify` finds all that is wrong, data.broken=skip leaves such questions out"


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A question that was left out because its stored data is damaged; the reason names the shard."""

    sample_id: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """This rank's part of a global batch: its groups in the order of the stream and the picks that they are
    of, what was left out of them (`data.broken = "skip"`), and the cursor behind the global batch."""

    groups: tuple[Group, ...]
    picks: tuple[SampleRef, ...]
    broken: tuple[Broken, ...]
    after: Cursor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Loaded:
    pick: SampleRef
    sample: Sample
    group: Group


class Loader:
    """Gives batches of groups by cursor. `rank` of `world_size` processes reads its slice alone. `clean` puts
    the uniform view beside the variants of each group, `neighbours` a candidate beside each frame."""

    def __init__(
        self,
        builds: Builds,
        settings: DataSettings,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        clean: bool = False,
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
        self._clean = clean
        self._rank, self._world_size = rank, world_size
        self._pool: ThreadPoolExecutor | None = None
        self._taken: dict[SampleRef, Sample] = {}
        self._pending: dict[SampleRef, tuple[float | None, Future[_Loaded | Broken]]] = {}

    def take(
        self,
        cursor: Cursor,
        *,
        size: int | None = None,
        alpha: float | None = None,
        next_alpha: float | None = None,
    ) -> Batch:
        """The batch at `cursor`, or the `size` questions there, and start to read what comes behind it.

        `alpha` overrides the sampler's for this batch (needs variants that are drawn anew); `next_alpha` is
        what the next call is expected to ask, so that frames are decoded ahead for it: a wrong guess costs
        time, never the result. Raises DamagedError for stored data that is not intact, where
        `data.broken = "stop"`.
        """
        picks, after = next_batch(cursor, self.stream, size)
        mine = rank_slice(picks, self._rank, self._world_size)
        self._want(mine, alpha, self._ahead(after), next_alpha)
        made = [self._result(pick, alpha) for pick in mine]
        loaded = [each for each in made if isinstance(each, _Loaded)]
        self._taken = {each.pick: each.sample for each in loaded}
        return Batch(
            groups=tuple(each.group for each in loaded),
            picks=tuple(each.pick for each in loaded),
            broken=tuple(each for each in made if isinstance(each, Broken)),
            after=after,
        )

    def redraw(self, pick: SampleRef, alpha: float) -> Group:
        """The group of a pick once more, its variants drawn with another α: for variants that wait for the
        rewards of earlier ones. Nothing of the batch that was taken last is read again."""
        sample = self._taken.get(pick) or self.builds.read(pick.position)
        return self._group(sample, pick, alpha)

    @property
    def alpha(self) -> float | None:
        """α that variants are drawn with; None where they are not drawn anew by α, or by several."""
        drawn = all(plan.anew and plan.sampler.name in WALKERS for plan in self._plans)
        alphas = {plan.sampler.alpha for plan in self._plans}
        return alphas.pop() if drawn and len(alphas) == 1 else None

    def close(self) -> None:
        """Stop reading ahead; the next `take` starts again."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._pending = None, {}

    def _ahead(self, cursor: Cursor) -> Iterable[SampleRef]:
        for _ in range(self._settings.prefetch):
            picks, cursor = next_batch(cursor, self.stream)
            yield from rank_slice(picks, self._rank, self._world_size)

    def _want(
        self,
        now: Iterable[SampleRef],
        alpha: float | None,
        ahead: Iterable[SampleRef],
        next_alpha: float | None,
    ) -> None:
        """Start what is not under way, first what is waited for; forget what is not wanted any more."""
        self._pool = self._pool or ThreadPoolExecutor(self._settings.threads, "strive-data-loader")
        wanted = dict.fromkeys(ahead, next_alpha) | dict.fromkeys(now, alpha)
        for pick in self._pending.keys() - wanted.keys():
            self._pending.pop(pick)[1].cancel()
        for pick in (*now, *wanted):
            if pick not in self._pending:
                future = self._pool.submit(self._load, pick, wanted[pick])
                self._pending[pick] = wanted[pick], future

    def _result(self, pick: SampleRef, alpha: float | None) -> _Loaded | Broken:
        guess, future = self._pending.pop(pick)
        if guess == alpha:
            return future.result()
        loaded = None if future.exception() else future.result()
        return self._load(pick, alpha, loaded.sample if isinstance(loaded, _Loaded) else None)

    def _load(self, pick: SampleRef, alpha: float | None, sample: Sample | None = None) -> _Loaded | Broken:
        try:
            sample = sample or self.builds.read(pick.position)
            return _Loaded(pick=pick, sample=sample, group=self._group(sample, pick, alpha))
        except DamagedError as error:
            if self._settings.broken == "stop":
                raise DamagedError(f"{error}; {STOPPED}") from error
            return Broken(sample_id=self.builds.sample_id(pick.position), reason=str(error))

    def _group(self, sample: Sample, pick: SampleRef, alpha: float | None) -> Group:
        plan = self._plans[self.builds.locate(pick.position)[0]]
        made = training_group(sample, plan, seed=self.stream.seed, epoch=pick.epoch, alpha=alpha)
        group = replace(made, pick=pick)
        return with_clean_view(group, sample, plan) if self._clean else group
