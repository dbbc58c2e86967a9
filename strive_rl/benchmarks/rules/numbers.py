"""Benchmarks whose answers are numbers or times: VSI-Bench, temporal grounding, grounded NExT-GQA.

VSI-Bench has 5,130 questions on indoor scenes, 2,640 of them answered by a number: choices by accuracy,
numbers by mean relative accuracy (MRA). The total is a mean over eight tasks; relative direction is one task,
the mean of its three difficulties. Official reads the first word of the output and computes MRA in double
precision (github.com/vision-x-nyu/thinking-in-space, tasks/vsibench/utils.py); robust reads the whole answer
and computes MRA exactly.

Charades-STA and ActivityNet Captions ask for the seconds at which an event happens. mIoU is the mean temporal
IoU; R@m the share of answers whose IoU is at least m (R1@m of TALL, arXiv 1705.02101). Answers are read as in
training; one that cannot be read has the IoU 0, as in Time-R1's evaluation.

Grounded NExT-GQA asks for an option and the seconds that show it (`eval_ground` of
github.com/doc-doc/NExT-GQA, code/TempGQA/eval_ground.py). IoP is the share of the predicted seconds inside a
true span. IoP and IoU are each the best over a question's true spans; Acc@GQA counts right options with an
IoP of .5 or more. Several predicted spans are read as one from the first start to the last end, as the
authors do. Differs from the authors' script: an output without a span counts 0 instead of being left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from strive_data.annotations.numbers import parse_number, read_spans, spans_text
from strive_data.schema import Span
from strive_rl.answers.accuracy import mean_relative_accuracy, outside_thoughts
from strive_rl.answers.similarity import IOU_THRESHOLDS, spans_in, temporal_iou
from strive_rl.benchmarks.items import (
    OFFICIAL,
    ROBUST,
    Benchmark,
    Convention,
    Item,
    Row,
    Tags,
    Verdict,
    tags_from,
    text_of,
)
from strive_rl.benchmarks.predictions import read_records
from strive_rl.benchmarks.rules.choices import next_gqa_score, next_gqa_tags
from strive_rl.benchmarks.verdicts import (
    VIDEO_R1,
    bare_output,
    choice_verdict,
    final_text,
    one_number,
    without_end_tokens,
)

DIRECTION = "object_rel_direction"
NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")


def official_score(output: str, item: Item) -> Verdict:
    """The first word is the letter, in any case, or the number; anything else is wrong."""
    word = first_word(bare_output(output))
    if item.question.problem_type == "multiple choice":
        value = float(word.lower() == item.question.answer.lower())
    else:
        value = floating_mra(_float(word), _float(item.question.answer))
    return Verdict(value=value, extracted=word or None)


def first_word(output: str) -> str:
    """What stands before the first space, without full stops at its end."""
    return output.split(" ")[0].rstrip(".").strip()


def floating_mra(value: float | None, truth: float | None) -> float:
    """MRA over ten evenly spaced thresholds in double precision; 0 without both numbers, or for the truth 0.

    In double precision 1 − .8 is less than .2, so an error exactly at a threshold may miss it: MRA(4, 5) is
    .6 and not .7.
    """
    if value is None or not truth:
        return 0.0
    tolerances = 1 - np.linspace(0.5, 0.95, 10)
    return float((abs(value - truth) / truth <= tolerances).mean())


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def robust_score(output: str, item: Item) -> Verdict:
    """Accuracy of a choice; MRA(p, g) = mean over θ ∈ {.50, …, .95} of [|p − g|/|g| ≤ 1 − θ], exactly."""
    if item.question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    value, truth = one_number(output), parse_number(item.question.answer)
    if value is None or truth is None:
        return Verdict(value=0.0, extracted=None)
    return Verdict(value=mean_relative_accuracy(value, truth), extracted=_shown(value))


def task_of(tags: Tags) -> tuple[str, str]:
    """(task, difficulty) for the mean over tasks; "" where the row has no task."""
    return tags.get("task", ""), tags.get("difficulty", "")


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def _tags(row: Row, path: Path) -> dict[str, str]:
    kind = text_of(row, "question_type", "original_question_type")
    return {
        "task": DIRECTION if kind.startswith(DIRECTION) else kind,
        "difficulty": kind.removeprefix(DIRECTION).strip("_") if kind.startswith(DIRECTION) else "",
        "answer": "number" if kind in NUMERIC else "choice",
        "scenes": text_of(row, "dataset") or text_of(row, "path").removeprefix("./").partition("/")[0],
    }


VSIBENCH = Benchmark(
    name="vsibench",
    title="VSI-Bench",
    published=5130,
    files=(("test.jsonl", "test-*.parquet"),),
    tags=_tags,
    breakdowns=("task", "difficulty", "answer", "scenes"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            strata=task_of,
            note="the authors' code: first word of the output, MRA in double precision, mean over 8 tasks",
        ),
        Convention(
            name=ROBUST,
            score=robust_score,
            strata=task_of,
            note="the letter or number that the answer names, MRA in exact arithmetic, mean over 8 tasks",
        ),
        VIDEO_R1,
    ),
)


def iou_verdict(output: str, item: Item, least: float | None = None) -> Verdict:
    """The IoU, or with `least` whether it reaches that."""
    spans, truth = spans_in(final_text(output)), read_spans(item.question.answer)
    iou = temporal_iou(spans, truth or ())
    return Verdict(
        value=iou if least is None else float(iou >= least), extracted=spans_text(spans) if spans else None
    )


GROUNDING = (
    Convention(name="mIoU", score=iou_verdict, note="mean temporal IoU"),
    *(
        Convention(
            name=f"R@{least}",
            score=partial(iou_verdict, least=least),
            note=f"share of answers of IoU {least} or more",
        )
        for least in IOU_THRESHOLDS
    ),
)
UNCHECKED = "Not checked against published outputs: there are none to compare with."

CHARADES_STA = Benchmark(
    name="charades-sta",
    title="Charades-STA",
    published=3720,
    files=(("charades_sta_test.txt",),),
    tags=tags_from({}),
    breakdowns=(),
    conventions=GROUNDING,
    notes=(UNCHECKED,),
)
ACTIVITYNET_CAPTIONS = Benchmark(
    name="activitynet-captions",
    title="ActivityNet Captions",
    published=17031,
    files=(("val_2.json",),),
    tags=tags_from({}),
    breakdowns=(),
    conventions=GROUNDING,
    notes=("val_2.json is what grounding papers test on.", UNCHECKED),
)


def overlaps(given: Sequence[Span], true: Sequence[Span]) -> tuple[float, float]:
    """(IoP, IoU) of the given spans as one, each the best over the true ones; a moment without length has the
    IoP 1 inside of a true span. 0, 0 without a span."""
    if not given:
        return 0.0, 0.0
    start, end = min(a for a, _ in given), max(b for _, b in given)
    shared = (max(0.0, min(end, b) - max(start, a)) for a, b in true)
    inside = [s / (end - start) for s in shared] if start < end else [float(a <= start <= b) for a, b in true]
    return max(inside), max(temporal_iou([(start, end)], [span]) for span in true)


def grounded_verdict(
    output: str, item: Item, measure: Callable[[float, float, float], float]
) -> Verdict | None:
    """A measure of (right, IoP, IoU); None for a question without true spans. The option is read as in
    `next-gqa`, or from what precedes the first number."""
    if "seconds" not in item.tags:
        return None
    spans = spans_in(outside_thoughts(without_end_tokens(output)))
    answer = next_gqa_score(output, item)
    if answer.extracted is None:
        answer = next_gqa_score(BEFORE_NUMBERS.sub("", final_text(output)), item)
    true = [(start, end) for start, end in json.loads(item.tags["seconds"])]
    read = [answer.extracted, spans_text(spans)]
    return Verdict(
        value=measure(answer.value or 0.0, *overlaps(spans, true)),
        extracted="; ".join(filter(None, read)) or None,
    )


def _grounded_tags(row: Row, path: Path) -> dict[str, str]:
    """Those of NExT-GQA, and the true spans of gsub_test.json beside test.csv."""
    tags, of_csv = next_gqa_tags(row, path), path.suffix == ".csv"
    video = (
        _true_spans(path.with_name(f"gsub_{path.stem}.json")).get(text_of(row, "video_id"))
        if of_csv
        else None
    )
    spans = video["location"].get(text_of(row, "qid")) if video else None
    return tags | {"seconds": json.dumps(spans)} if spans else tags


@lru_cache(maxsize=2)
def _true_spans(file: Path) -> Row:
    expected = "expected gsub_test.json of github.com/doc-doc/NExT-GQA beside test.csv"
    return read_records(file, "time spans", expected).tree or {}


BEFORE_NUMBERS = re.compile(r"[\s,;:(\[<]*\d.*", re.DOTALL)
GROUNDED: dict[str, tuple[Callable[[float, float, float], float], str]] = {
    "Acc@GQA": (lambda right, iop, iou: right * (iop >= 0.5), "right option and IoP of 0.5 or more"),
    "Acc@QA": (lambda right, iop, iou: right, "right option"),
    "mIoP": (lambda right, iop, iou: iop, "mean share of the predicted seconds in a true span"),
    "IoP@0.3": (lambda right, iop, iou: float(iop >= 0.3), "share of answers of IoP 0.3 or more"),
    "IoP@0.5": (lambda right, iop, iou: float(iop >= 0.5), "share of answers of IoP 0.5 or more"),
    "mIoU": (lambda right, iop, iou: iou, "mean temporal IoU"),
    "IoU@0.3": (lambda right, iop, iou: float(iou >= 0.3), "share of answers of IoU 0.3 or more"),
    "IoU@0.5": (lambda right, iop, iou: float(iou >= 0.5), "share of answers of IoU 0.5 or more"),
}
NEXT_GQA_GROUNDED = Benchmark(
    name="next-gqa-grounded",
    title="NExT-GQA, grounded",
    published=5553,
    files=(("test.csv", "datasets/nextgqa/test.csv"),),
    tags=_grounded_tags,
    breakdowns=("group", "question type"),
    conventions=tuple(
        Convention(name=name, score=partial(grounded_verdict, measure=measure), note=note)
        for name, (measure, note) in GROUNDED.items()
    ),
    notes=(UNCHECKED, "An output without seconds has IoP and IoU 0; the authors' script leaves it out."),
    form=lambda item: (
        "The final answer is the letter of the option and the seconds that show it, as in: B; 12.3 to 15.8"
    ),
)
