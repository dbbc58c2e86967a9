"""MVBench: 4,000 questions of 20 tasks on short videos; accuracy over questions.

Official (github.com/OpenGVLab/Ask-Anything, video_chat2/mvbench.ipynb): the first word of the output, in
small letters and without full stops, is right where it is a part of "(b)", or "(b)" a part of it. So "b",
"(b" and ")" are right, and so is an output that is empty.
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, Verdict
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED, bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

TASKS = (
    "action_sequence",
    "action_prediction",
    "action_antonym",
    "fine_grained_action",
    "unexpected_action",
    "object_existence",
    "object_interaction",
    "object_shuffle",
    "moving_direction",
    "action_localization",
    "scene_transition",
    "action_count",
    "moving_count",
    "moving_attribute",
    "state_change",
    "fine_grained_pose",
    "character_order",
    "egocentric_navigation",
    "episodic_reasoning",
    "counterfactual_inference",
)


def official_score(output: str, item: Item) -> Verdict:
    """1 where the first word and the bracketed letter hold one another."""
    word, wanted = bare_output(output).lower().split(" ")[0], f"({item.question.answer.lower()})"
    right = word.replace(".", "") in wanted or wanted in word
    return Verdict(value=float(right), extracted=word or None)


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {"task": path.stem if path.stem in TASKS else ""}


MVBENCH = Benchmark(
    name="mvbench",
    title="MVBench",
    published=4000,
    files=tuple((f"json/{task}.json", f"{task}.json") for task in TASKS),
    recipe="mvbench",
    tags=_tags,
    breakdowns=("task",),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="the authors' notebook: first word a part of '(b)' or the reverse; an empty output is right",
        ),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    order=TASKS,
    notes=(UNCHECKED,),
)
