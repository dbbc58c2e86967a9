"""VideoMME: 2,700 questions with four options on 900 videos; accuracy over questions, also by duration."""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import Benchmark, Convention, Row, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

DURATIONS = ("short", "medium", "long")


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {
        "duration": text_of(row, "duration"),
        "domain": text_of(row, "domain"),
        "sub-category": text_of(row, "sub_category"),
        "task type": text_of(row, "task_type", "original_question_type"),
    }


VIDEOMME = Benchmark(
    name="videomme",
    title="VideoMME",
    published=2700,
    files=(("videomme/test-*.parquet", "test-*.parquet", "videomme.parquet", "videomme.json"),),
    tags=_tags,
    breakdowns=("duration", "domain", "task type", "sub-category"),
    conventions=(Convention(name="official", score=choice_verdict), VIDEO_R1),
    order=DURATIONS,
)
