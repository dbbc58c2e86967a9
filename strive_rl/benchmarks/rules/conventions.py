"""Conventions that benchmarks share: the text that official rules read, and Video-R1's own way to score.

The authors' code knows no answer form: it expects an answer and nothing else. An output in the form that
this project trains (`<think>…</think><answer>…</answer>`) is therefore read from its `<answer>`; any other
output is read as it is, end tokens aside.

Video-R1 on its evaluation files: the first `<answer>`, else the whole output, equal to the truth after
stripping; numbers by `float` once commas are gone, MRA with a strict < in single precision; no rule for other
types. The mean is over questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Convention, Item, Tags, Verdict
from strive_rl.benchmarks.verdicts import choice_verdict, final_text, without_end_tokens

UNCHECKED = (
    "The official rule follows the authors' code. It was not checked against published outputs and totals."
)
FORM_TAGS = ("<answer>", "<think>", "</think>")
ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
STEP, FIRST, COUNT = 0.05, 0.5, 10
EPSILON = np.float32(1e-8)


def bare_output(output: str) -> str:
    """The output without end tokens, not stripped; the content of `<answer>` where it has the answer form."""
    has_form = any(tag in output for tag in FORM_TAGS)
    return final_text(output) if has_form else without_end_tokens(output)


def video_r1_score(output: str, item: Item) -> Verdict | None:
    """Verdict on one output; None for types that Video-R1's evaluation files do not hold."""
    found = ANSWER.search(output)
    answer = (found[1].strip() if found else "") or output.strip()
    truth, kind = item.question.answer, item.question.problem_type
    if kind not in ("multiple choice", "numerical", "regression"):
        return None
    if not answer:
        value = 0.0
    elif kind == "multiple choice":
        value = float(answer == truth.strip())
    elif kind == "numerical":
        value = _equal_numbers(answer, truth)
    else:
        value = strict_mra(_float(answer), _float(truth))
    return Verdict(value=value, extracted=answer or None)


def strict_mra(value: float | None, truth: float | None) -> float:
    """Share of θ ∈ {.50, …, .95} with |value − truth|/(|truth| + 1e-8) < 1 − θ, in float32 as they do it."""
    if value is None or truth is None:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.float32(value) - np.float32(truth)) / (np.abs(np.float32(truth)) + EPSILON)
        thresholds: npt.NDArray[np.float32] = (FIRST + STEP * np.arange(COUNT)).astype(np.float32)
        return float((error < np.float32(1) - thresholds).mean())


def _equal_numbers(answer: str, truth: str) -> float:
    """Both with a decimal sign or both without, and equal once rounded to 2 decimals."""
    signs = [("." in text) or ("," in text) for text in (answer, truth)]
    ours, theirs = _float(answer), _float(truth)
    if signs[0] != signs[1] or ours is None or theirs is None:
        return 0.0
    return float(round(ours, 2) == round(theirs, 2))


def _float(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


VIDEO_R1 = Convention(
    name="video_r1",
    score=video_r1_score,
    note="Video-R1's evaluation: exact answer in the first <answer>, strict < in MRA, mean over questions",
)


def letter_conventions(
    official: Callable[[str, Item], Verdict],
    note: str,
    strata: Callable[[Tags], tuple[str, str]] | None = None,
) -> tuple[Convention, ...]:
    """The three conventions of a benchmark of options: the authors' rule, this project's, Video-R1's."""
    robust = "the option that the answer names; unreadable is wrong" + ("; mean over tasks" if strata else "")
    return (
        Convention(name=OFFICIAL, score=official, strata=strata, note=note),
        Convention(name=ROBUST, score=choice_verdict, strata=strata, note=robust),
        VIDEO_R1,
    )
