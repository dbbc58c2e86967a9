from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.engines import engine
from strive_data.engines.engine import WORK_STAGES, Stopwatch, find_videos
from strive_data.errors import FailureKind
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
