from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from strive_data.synth.encode import write_h264


def ramp(count: int) -> list[np.ndarray]:
    return [np.full((32, 48, 3), 20 + 8 * frame, dtype=np.uint8) for frame in range(count)]


def test_frames_come_back_in_order_at_their_times(tmp_path: Path) -> None:
    write_h264(tmp_path / "a.mp4", ramp(25), frames_per_second=4, height=32, width=48)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == [number / 4 for number in range(25)]
    means = [float(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    assert np.abs(np.array(means) - [20 + 8 * number for number in range(25)]).max() < 3
    assert frames[0].to_ndarray(format="rgb24").shape == (32, 48, 3)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_h264(tmp_path / name, ramp(9), frames_per_second=4, height=32, width=48)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_colours_survive(tmp_path: Path) -> None:
    colours = [(255, 255, 255), (0, 0, 0), (222, 38, 38), (40, 168, 66), (45, 95, 235)]
    frames = [np.full((32, 48, 3), colour, dtype=np.uint8) for colour in colours]
    write_h264(tmp_path / "a.mp4", frames, frames_per_second=4, height=32, width=48)
    with av.open(str(tmp_path / "a.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24").mean(axis=(0, 1)) for frame in container.decode(video=0)]
    assert np.abs(np.array(shown) - colours).max() < 4


def test_many_encodings_of_the_same_frames_are_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(4)]
    files = set()
    for _ in range(40):
        write_h264(tmp_path / "a.mp4", [f.copy() for f in frames], frames_per_second=4, height=112, width=112)
        files.add((tmp_path / "a.mp4").read_bytes())
    assert len(files) == 1
