"""A folder of needle videos with its annotation in the Video-R1 layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from strive_data.demo.draw import SIDE_PIXELS, draw_frame, write_h264
from strive_data.demo.levels import LEVELS, Kind, Level
from strive_data.demo.world import FRAMES_PER_SECOND, VideoPlan
from strive_data.errors import UsageError

ANNOTATION = "questions.jsonl"


def write_world(
    folder: Path,
    *,
    videos: int,
    questions_per_video: int,
    seed: int,
    level: Level = "easy",
    kinds: Sequence[Kind] = (),
) -> Path:
    """Write videos/*.mp4 and questions.jsonl under `folder`; returns the annotation.

    `kinds` are those of the hard level's questions, default all. Equal arguments give equal files (with the
    same FFmpeg). Raises UsageError for a folder that holds something already, and for arguments out of range.
    """
    if videos < 1 or seed < 0:
        raise UsageError(f"world: got {videos} videos and seed {seed}, expected at least 1 and at least 0")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: not empty; give a new folder for the world")
    if kinds and level != "hard":
        raise UsageError(f"kinds: got {', '.join(kinds)} for the level {level}; only hard has several kinds")
    make = partial(LEVELS[level], kinds=kinds) if kinds else LEVELS[level]
    plans = [make(seed=seed, index=index, questions=questions_per_video) for index in range(videos)]
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for index, plan in enumerate(plans):
        path = f"videos/world{seed}-{index:04d}.mp4"
        pictures = (draw_frame(plan, time_seconds) for time_seconds in plan.frame_times)
        write_h264(
            folder / path,
            pictures,
            frames_per_second=FRAMES_PER_SECOND,
            height=SIDE_PIXELS,
            width=SIDE_PIXELS,
        )
        rows += annotation_rows(plan, path, first_id=len(rows))
    annotation = folder / ANNOTATION
    annotation.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return annotation


def annotation_rows(plan: VideoPlan, path: str, *, first_id: int) -> list[dict[str, Any]]:
    """The questions of one video in the Video-R1 layout, with `evidence_spans` in seconds."""
    return [
        {
            "problem_id": first_id + place,
            "problem": asked.text,
            "data_type": "video",
            "problem_type": "multiple choice",
            "options": list(asked.options),
            "solution": f"<answer>{asked.letter}</answer>",
            "path": path,
            "data_source": "needle-world",
            "evidence_spans": [list(span) for span in asked.spans],
        }
        for place, asked in enumerate(plan.asked)
    ]
