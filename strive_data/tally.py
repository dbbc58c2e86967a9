"""What a build has done so far, counted from what it tells (observer.py). Pure: the clock is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from strive_data.errors import FailureKind
from strive_data.observer import VideoDone, Workload
from strive_data.stopwatch import WORK_STAGES, WorkStage


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts since this start; what an earlier start did is in `work`, the sums are `…_done` and `failed`.

    `failures` by kind; `frames` decoded or taken from the cache; `written_bytes` of samples; `seconds` by
    stage, summed over all processes and threads.
    """

    work: Workload
    videos: int = 0
    questions: int = 0
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    frames: int = 0
    shards: int = 0
    written_bytes: int = 0
    seconds: Mapping[WorkStage, float] = field(default_factory=dict)

    def after(self, done: VideoDone) -> Tally:
        """The counts with one video more."""
        failures = dict(self.failures)
        for kind, count in done.failures.items():
            failures[kind] = failures.get(kind, 0) + count
        seconds = {name: self.seconds.get(name, 0.0) + done.seconds.get(name, 0.0) for name in WORK_STAGES}
        return replace(
            self,
            videos=self.videos + 1,
            questions=self.questions + done.questions,
            failures=failures,
            frames=self.frames + done.frames,
            shards=self.shards + done.shards,
            written_bytes=self.written_bytes + done.written_bytes,
            seconds=seconds,
        )

    def finished(self, *, shards: int, written_bytes: int) -> Tally:
        """The counts at the end, when the whole build holds so many shards and bytes."""
        before = self.work
        return replace(
            self, shards=shards - before.shards, written_bytes=written_bytes - before.written_bytes
        )

    @property
    def videos_done(self) -> int:
        """Videos of this start and of earlier ones."""
        return self.work.videos_done + self.videos

    @property
    def questions_done(self) -> int:
        """Questions of this start and of earlier ones."""
        return self.work.questions_done + self.questions

    @property
    def shards_done(self) -> int:
        """Shards that were committed, by earlier starts too."""
        return self.work.shards + self.shards

    @property
    def bytes_done(self) -> int:
        """Bytes of samples that were written, by earlier starts too."""
        return self.work.written_bytes + self.written_bytes

    @property
    def failed(self) -> int:
        """Rows that cannot be used: unusable ones of the annotation too."""
        return self.work.failures + sum(self.failures.values())

    def seconds_left(self, elapsed_seconds: float) -> float | None:
        """At the pace since the start; 0 when all are done, None before the first video."""
        if self.videos_done == self.work.videos:
            return 0.0
        if not self.videos:
            return None
        return elapsed_seconds / self.videos * (self.work.videos - self.videos_done)

    def stage_shares(self) -> dict[WorkStage, float]:
        """Each stage's share of the seconds of all stages, 0 to 1; empty before any were counted."""
        total = sum(self.seconds.values())
        return {name: self.seconds[name] / total for name in WORK_STAGES} if total > 0 else {}

    def bottleneck(self) -> WorkStage | None:
        """The stage that most seconds go into; None before any were counted."""
        by_share = sorted(self.stage_shares().items(), key=lambda item: item[1])
        return by_share[-1][0] if by_share else None
