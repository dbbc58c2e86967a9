from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from strive_data.synth.encode import to_yuv420, write_h264


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


def test_colours_are_those_of_bt_601() -> None:
    """White, black and the three primaries, from the standard's table."""
    table = {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (81, 90, 240),
        (0, 255, 0): (145, 54, 34),
        (0, 0, 255): (41, 240, 110),
    }
    for rgb, expected in table.items():
        planes = to_yuv420(np.full((2, 4, 3), rgb, dtype=np.uint8))
        assert planes.shape == (3, 4)
        assert planes.ravel().tolist() == [expected[0]] * 8 + [expected[1]] * 2 + [expected[2]] * 2


def test_many_encodings_of_the_same_frames_are_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(4)]
    files = set()
    for _ in range(12):
        write_h264(tmp_path / "a.mp4", [f.copy() for f in frames], frames_per_second=4, height=112, width=112)
        files.add((tmp_path / "a.mp4").read_bytes())
    assert len(files) == 1
