from __future__ import annotations

import pytest

from strive_data import progress


def test_where_there_is_no_terminal_it_prints_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.BuildProgress() as shown:
        shown.start(videos=2, questions=5)
        shown.advance(3, 1)
        shown.advance(2, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/2 videos, 2 samples, 1 failures, ")
    assert lines[1] == "2/2 videos, 4 samples, 1 failures, 0 s left"
