from __future__ import annotations

from pathlib import Path

import av
import pytest

from strive_data.config import DecodeSettings
from tools.bench.decode import RENDERED, Rendered, Row, print_table, read_by_decord, render

pytest.importorskip("decord", reason="decord exists for x86-64 only")


def test_a_rendered_video_is_its_pictures_over_again(tmp_path: Path) -> None:
    path = render(Rendered(name="x.mp4", size=(96, 64), seconds=1, copies=3), tmp_path)
    with av.open(str(path)) as container:
        frames = [(frame.pts, frame.key_frame) for frame in container.decode(video=0)]
        base = container.streams.video[0].time_base
    assert [float((pts - frames[0][0]) * base) for pts, _ in frames] == pytest.approx(
        [i / 25 for i in range(75)]
    )
    assert [place for place, (_, key) in enumerate(frames) if key] == [0, 25, 50]
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]
    settings = DecodeSettings(candidates=5, max_pixels=56 * 28)
    assert read_by_decord(path, settings, scaled=True).shape == (5, 28, 56, 3)
    assert read_by_decord(path, settings, scaled=False).shape == (5, 64, 96, 3)


def test_the_ratio_is_to_the_faster_way_to_use_decord(capsys: pytest.CaptureFixture[str]) -> None:
    short = Row(video="a", count=64, pyav=1.0, scaled=1.25, full=0.8, is_long=False)
    long = Row(video="b", count=64, pyav=1.0, scaled=2.5, full=4.0, is_long=True)
    assert (short.ratio, long.ratio) == (1.25, 0.4)
    print_table([short, long])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][-4:] == ["1.25", "≤", "1.1", "MISSED"]
    assert lines[2][-4:] == ["0.40", "≤", "0.5", "met"]
    assert [video.is_long for video in RENDERED] == [False, False, True, True]
