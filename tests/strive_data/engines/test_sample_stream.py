from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strive_data.config import BuildSettings
from strive_data.engines import engine
from strive_data.engines import engine as streaming
from strive_data.engines.engine import WORK_STAGES, Stopwatch, VideoJob, find_videos, sample_stream
from strive_data.errors import FailureKind, SettingsError
from tests.strive_data.made.engine import SETTINGS, FakeEngine
from tests.strive_data.made.samples import a_question


def test_videos_that_are_there_become_jobs_and_the_others_failures(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    (tmp_path / "out.mp4").symlink_to(tmp_path.parent / "elsewhere.mp4")
    (tmp_path.parent / "elsewhere.mp4").touch()
    names = ["b.mp4", "gone.mp4", "a.mp4", "b", "out.mp4"]  # "b": without its ending
    rows = [(number, a_question(str(number), video=name)) for number, name in enumerate(names)]
    jobs, failures = find_videos(rows, tmp_path)
    assert [(job.name, [number for number, _ in job.rows]) for job in jobs] == [
        ("b.mp4", [0, 3]),
        ("a.mp4", [2]),
    ]
    assert [(each.sample_id, each.row, each.stage, each.kind) for each in failures] == [
        ("1", 1, "annotation", FailureKind.MISSING),
        ("4", 4, "annotation", FailureKind.OUTSIDE_ROOT),
    ]


def test_results_come_one_by_one_and_the_engine_is_closed_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    class Watched(FakeEngine):
        def run(self, jobs: Any) -> Iterator[Any]:
            try:
                yield from super().run(jobs)
            finally:
                closed.append(True)

    engine = Watched(broken=["b"])
    given: list[tuple[str, BuildSettings]] = []

    def made(name: str, settings: BuildSettings, **of: object) -> FakeEngine:
        given.append((name, settings))
        return engine

    monkeypatch.setattr(streaming, "make_engine", made)
    jobs = [
        VideoJob(name=name, path=Path(name), rows=((i, a_question(str(i), video=f"{name}.mp4")),))
        for i, name in enumerate("abc")
    ]
    videos = sample_stream(jobs, SETTINGS)
    first, second = next(videos), next(videos)
    assert (first.job.name, second.results[0].kind) == ("a", FailureKind.TIMEOUT)  # type: ignore[union-attr]
    assert (given, engine.videos, closed) == ([("local", SETTINGS)], ["a", "b"], [])
    videos.close()
    assert closed == [True]


def test_an_unknown_engine_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="unknown engine 'locl', did you mean 'local'"):
        next(sample_stream([], SETTINGS, engine="locl"))


def test_seconds_add_up_by_stage_even_where_the_block_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(engine.time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    with watch.stage("model"):
        pass
    with pytest.raises(ValueError, match="no"), watch.stage("encode"):
        raise ValueError("no")
    assert watch.seconds == {"decode": 0.0, "model": 2.0, "encode": 3.0, "write": 0.0}
    other = Stopwatch()
    other.add(watch.seconds)
    other.add({"model": 1.0})
    assert other.seconds == watch.seconds | {"model": 3.0}
    assert tuple(other.seconds) == WORK_STAGES
