"""What a build tells of itself while it runs: to a progress bar, a log, a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from strive_data.errors import FailureKind
from strive_data.stopwatch import Seconds


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What there is to do: videos and questions of the annotation, and how many an earlier start finished.

    `failures` are rows of the annotation that cannot be used; they are no part of `questions`. `shards` and
    `written_bytes` are those that earlier starts committed.
    """

    videos: int
    questions: int
    videos_done: int = 0
    questions_done: int = 0
    failures: int = 0
    shards: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class VideoDone:
    """One video more: its questions and how many of them failed, by kind; its decoded candidate frames.

    `written_bytes` and `shards`: what the build has written since the last video, samples of the open shard
    too (without a tar's end mark), shards only when committed. `seconds` are those spent on the video by
    stage, in workers and in this process alike: stages run beside each other, so their sum may exceed the
    wall clock.
    """

    video: str
    questions: int
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    frames: int = 0
    written_bytes: int = 0
    shards: int = 0
    kept: bool = False
    seconds: Seconds = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many of its questions failed."""
        return sum(self.failures.values())


class Observer(Protocol):
    """Told of each finished video, and of the end."""

    def start(self, work: Workload) -> None:
        """Before the first video."""

    def advance(self, done: VideoDone) -> None:
        """After each video, in the order of the annotation."""

    def finish(self, *, shards: int, written_bytes: int) -> None:
        """Behind the last video, when the shard that was open is committed and `run.json` is there.

        Both as its counts have them, of the whole build: `written_bytes` are those of the tars.
        """
