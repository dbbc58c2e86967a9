from __future__ import annotations

import time

import pytest

from strive_data.shard_progress import ShardProgress


def test_where_there_is_no_terminal_a_line_is_printed_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ShardProgress("read") as progress:
        for done, at in enumerate((104.0, 110.0, 115.0, 120.0), start=1):
            now[0] = at
            progress(done, 4, done * 10_000_000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["2/4 shards read, 20 MB, 2 MB/s", "4/4 shards read, 40 MB, 2 MB/s"]
