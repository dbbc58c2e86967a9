"""NExT-GQA (test): 5,553 questions with five options; accuracy over questions (Acc@QA).

Official (github.com/doc-doc/NExT-GQA, code/TempGQA/eval_next.py): the prediction is one of the options. The
authors read no text: an output that is an option's whole text is that option, any other one is read as its
letter. Questions about what was before count among those about what comes next (TP in TN). Acc@GQA, IoP and
IoU need predicted time spans and are not computed.
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED, bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

TYPES = {
    "CW": "CW (why)",
    "CH": "CH (how)",
    "TN": "TN (before, after)",
    "TP": "TN (before, after)",
    "TC": "TC (when)",
}
GROUPS = {"C": "causal", "T": "temporal", "D": "descriptive"}


def official_score(output: str, item: Item) -> Verdict:
    """1 for the right option, by its text or its letter."""
    text = bare_output(output).strip()
    named = [option[0] for option in item.question.options if option[3:] == text]
    if len(named) != 1:
        return choice_verdict(output, item)
    return Verdict(value=float(named[0] == item.question.answer), extracted=named[0])


def _tags(row: Row, path: Path) -> dict[str, str]:
    kind = text_of(row, "type")
    return {"group": GROUPS.get(kind[:1], ""), "question type": TYPES.get(kind, kind)}


NEXT_GQA = Benchmark(
    name="next-gqa",
    title="NExT-GQA",
    published=5553,
    files=(("test.csv", "datasets/nextgqa/test.csv"),),
    tags=_tags,
    breakdowns=("group", "question type"),
    conventions=(
        Convention(name=OFFICIAL, score=official_score, note="the option's text or its letter"),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    notes=(
        UNCHECKED,
        "Acc@GQA, IoP and IoU need time spans from the model; only the accuracy of answers is computed.",
    ),
)
