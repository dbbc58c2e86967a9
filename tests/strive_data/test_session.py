from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.config import FailureSettings
from strive_data.failure_limit import FailureCount, TooManyFailuresError
from strive_data.observer import VideoDone, Workload
from strive_data.session import run_jobs
from strive_data.shard_stream import ShardStream
from strive_data.work import Work, jobs_of
from tests.strive_data.fake_engine import SETTINGS, FakeEngine
from tests.strive_data.samples import a_question


class Notes:
    def __init__(self) -> None:
        self.done: list[VideoDone] = []

    def start(self, work: Workload) -> None:
        raise NotImplementedError

    def advance(self, done: VideoDone) -> None:
        self.done.append(done)

    def finish(self, *, shards: int, written_bytes: int) -> None:
        raise NotImplementedError


def some_work() -> Work:
    """Videos a (rows 0, 1, 4), b (2) and c (3); row 0 is settled."""
    rows = [(i, a_question(str(i), video=f"{video}.mp4")) for i, video in enumerate("aabca")]
    return Work(jobs=tuple(jobs_of(rows, Path())), settled=frozenset("0"), attempt=0, videos=3)


def test_each_video_is_shown_with_what_was_new(tmp_path: Path) -> None:
    notes = Notes()
    with ShardStream(tmp_path, SETTINGS) as stream:
        run_jobs(FakeEngine("b"), some_work(), stream, notes, FailureCount(FailureSettings()))
    told = [(done.video, done.questions, done.failed, done.shards) for done in notes.done]
    assert told == [("a.mp4", 2, 0, 0), ("b.mp4", 1, 1, 0), ("c.mp4", 1, 0, 1)]
    assert sum(done.written_bytes for done in notes.done) == stream.written_bytes
    assert all(done.seconds["write"] > 0 for done in notes.done)


def test_the_limit_stops_the_engine(tmp_path: Path) -> None:
    notes, engine = Notes(), FakeEngine("ab")
    counted = FailureCount(FailureSettings(max_count=1))
    with ShardStream(tmp_path, SETTINGS) as stream, pytest.raises(TooManyFailuresError):
        run_jobs(engine, some_work(), stream, notes, counted)
    assert engine.videos == ["a.mp4"]
