from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from strive_data.demo.draw import draw_frame
from strive_data.demo.world import plan_video
from strive_data.demo.write import write_world
from strive_data.errors import UsageError


def test_a_world_is_videos_and_questions_in_the_video_r1_layout(tmp_path: Path) -> None:
    annotation = write_world(tmp_path / "w", videos=2, questions_per_video=3, seed=5)
    rows = [json.loads(line) for line in annotation.read_text().splitlines()]
    assert annotation == tmp_path / "w" / "questions.jsonl"
    assert [row["problem_id"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row["path"] for row in rows} == {"videos/world5-0000.mp4", "videos/world5-0001.mp4"}
    plan = plan_video(seed=5, index=1, questions=3)
    assert rows[4] == {
        "problem_id": 4,
        "problem": plan.asked[1].text,
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": list(plan.asked[1].options),
        "solution": f"<answer>{plan.asked[1].letter}</answer>",
        "path": "videos/world5-0001.mp4",
        "data_source": "needle-world",
        "evidence_spans": [list(plan.asked[1].spans[0])],
    }


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
