from __future__ import annotations

import pytest

from strive_data import progress
from strive_data.errors import FailureKind
from strive_data.observer import VideoDone, Workload


def test_where_there_is_no_terminal_it_prints_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.BuildProgress() as shown:
        shown.start(Workload(videos=2, questions=5))
        shown.advance(VideoDone(video="a", questions=3, failures={FailureKind.TIMEOUT: 1}))
        shown.advance(VideoDone(video="b", questions=2))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/2 videos, 2 samples, 1 failures, ")
    assert lines[1] == "2/2 videos, 4 samples, 1 failures, 0 s left"
