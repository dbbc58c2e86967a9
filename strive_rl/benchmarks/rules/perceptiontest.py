"""PerceptionTest (validation): 19,140 questions with three options; accuracy over questions.

Published answers are indices; the recipe makes letters of them, so right letter means right index.
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import Benchmark, Convention, Row, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

TRAINED_ON = (
    "Video-R1's training data holds PerceptionTest's training videos: a policy that was trained on it has "
    "seen this benchmark's kind of video and question, and its score here is no measure of transfer."
)


def _tags(row: Row, path: Path) -> dict[str, str]:
    tag = row.get("tag")
    listed = [name for name in tag if isinstance(name, str)] if isinstance(tag, list) else []
    return {
        "area": text_of(row, "area"),
        "reasoning": text_of(row, "reasoning"),
        "tag": ", ".join(listed) or text_of(row, "tag"),
    }


PERCEPTIONTEST = Benchmark(
    name="perceptiontest",
    title="PerceptionTest",
    published=19140,
    files=(("mc_question_val.json", "mc_question_valid.json", "mc_question_val/*.parquet"),),
    tags=_tags,
    breakdowns=("area", "reasoning", "tag"),
    conventions=(Convention(name="official", score=choice_verdict), VIDEO_R1),
    notes=(TRAINED_ON,),
)
