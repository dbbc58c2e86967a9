"""Video-R1's own way to score its evaluation files, beside the authors' where the two differ.

The first `<answer>`, else the whole output, equal to the truth after stripping; numbers by `float` once
commas are gone, MRA with a strict < in single precision; no rule for other types. The mean is over questions.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from strive_rl.benchmarks.item import Convention, Item, Verdict

NAME = "video_r1"
ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
STEP, FIRST, COUNT = 0.05, 0.5, 10
EPSILON = np.float32(1e-8)


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
    name=NAME,
    score=video_r1_score,
    note="Video-R1's evaluation: exact answer in the first <answer>, strict < in MRA, mean over questions",
)
