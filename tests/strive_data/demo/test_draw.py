from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from strive_data.demo.draw import (
    RGB,
    SIDE_PIXELS,
    annotation_rows,
    draw_frame,
    write_h264,
    write_world,
)
from strive_data.demo.world import COLOURS, LEVELS, SHAPES, Thing, VideoPlan, plan_video
from strive_data.errors import UsageError

GREY = (90, 90, 90)
BLANK = VideoPlan(frames=8, things=(), asked=(), background=(GREY, GREY), drift=(0.0, 0.0))


def still(shape: str, colour: str, *, size: float = 0.5) -> Thing:
    moves = {"reach": (0.0, 0.0), "turns_per_second": 0.0, "phase": 0.0}
    seen = {"start": 1.0, "stop": 2.0, "centre": (0.5, 0.5), "marked": True}
    return Thing(shape=shape, colour=colour, size=size, **seen, **moves)


def painted(shape: str, colour: str, *, size: float = 0.5) -> np.ndarray:
    return draw_frame(replace(BLANK, things=(still(shape, colour, size=size),)), 1.5)


def test_every_colour_has_its_paint() -> None:
    assert set(RGB) == set(COLOURS)


def test_an_empty_plan_is_its_background() -> None:
    picture = draw_frame(BLANK, 0.0)
    assert picture.shape == (SIDE_PIXELS, SIDE_PIXELS, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - 90).max() <= 1


def test_a_thing_is_there_from_start_until_stop() -> None:
    plan = replace(BLANK, things=(still("square", "red"),))
    seen = [bool((draw_frame(plan, time) == RGB["red"]).all(axis=2).any()) for time in (0.99, 1.0, 1.99, 2.0)]
    assert seen == [False, True, True, False]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_middle_of_a_square_has_its_colour(colour: str) -> None:
    assert tuple(painted("square", colour)[56, 56]) == RGB[colour]


def test_areas_are_those_of_the_shapes() -> None:
    """Share of the bounding square that is not background, against plane geometry."""
    expected = {
        "circle": np.pi / 4,
        "ring": np.pi / 4 - np.pi * 0.21**2,
        "square": 0.88**2,
        "triangle": 0.93 / 2,
        "cross": 1 - 4 * 0.33**2,
        "star": 5 * 0.5 * 0.2 * np.sin(np.pi / 5),
    }
    side = round(0.5 * SIDE_PIXELS)
    for shape in SHAPES:
        inked = np.abs(painted(shape, "blue").astype(int) - 90).max(axis=2) > 30
        assert inked.sum() / side**2 == pytest.approx(expected[shape], abs=0.05), shape


def test_a_needle_has_a_white_edge_and_a_distractor_has_not() -> None:
    plain = replace(still("circle", "blue"), marked=False)
    assert (painted("circle", "blue") >= 200).all(axis=2).sum() > 50
    assert (draw_frame(replace(BLANK, things=(plain,)), 1.5) >= 200).all(axis=2).sum() == 0


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


def test_a_world_is_videos_and_questions_in_the_video_r1_layout(tmp_path: Path) -> None:
    annotation = write_world(tmp_path / "w", videos=2, questions_per_video=3, seed=5)
    rows = [json.loads(line) for line in annotation.read_text().splitlines()]
    assert annotation == tmp_path / "w" / "questions.jsonl"
    assert [row["problem_id"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row["path"] for row in rows} == {"videos/world5-0000.mp4", "videos/world5-0001.mp4"}
    plan = plan_video(seed=5, index=1, questions=3)
    start, stop = plan.asked[1].spans[0]
    assert rows[4] == {
        "problem_id": 4,
        "problem": plan.asked[1].text,
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": list(plan.asked[1].options),
        "solution": f"<answer>{plan.asked[1].letter}</answer>",
        "path": "videos/world5-0001.mp4",
        "data_source": "needle-world",
        "evidence_spans": [[start, stop - 0.25]],
    }


def test_the_frames_at_both_ends_of_a_span_show_the_needle_and_the_next_ones_do_not() -> None:
    for level, plan_video_of in LEVELS.items():
        plan = plan_video_of(seed=5, index=1, questions=3)
        for asked, row in zip(plan.asked, annotation_rows(plan, "a.mp4", first_id=0), strict=True):
            shown = [t for t in plan.frame_times if any(n.start <= t < n.stop for n in asked.needles)]
            spans = row["evidence_spans"]
            assert [t for t in plan.frame_times if any(a <= t <= b for a, b in spans)] == shown, level


def test_the_file_shows_what_was_planned(tmp_path: Path) -> None:
    write_world(tmp_path / "w", videos=1, questions_per_video=2, seed=6)
    plan = plan_video(seed=6, index=0, questions=2)
    with av.open(str(tmp_path / "w" / "videos" / "world6-0000.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]
    assert len(frames) == plan.frames
    for time, frame in zip(plan.frame_times, frames, strict=True):
        assert np.abs(frame - draw_frame(plan, time)).mean() < 6


def test_equal_arguments_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_world(tmp_path / name, videos=1, questions_per_video=2, seed=6)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_folder_in_use_and_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        write_world(tmp_path, videos=1, questions_per_video=1, seed=0)
    with pytest.raises(UsageError, match="got 0 videos"):
        write_world(tmp_path / "new", videos=0, questions_per_video=1, seed=0)
    with pytest.raises(UsageError, match="expected 1 to 4"):
        write_world(tmp_path / "new", videos=1, questions_per_video=9, seed=0)
    assert not (tmp_path / "new").exists()
