"""How right a bare answer is, by its own question's type.

Total functions of the text: any text gives a finite value in [0, 1].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from strive_data.annotations.numbers import parse_number, read_spans
from strive_data.schema import ProblemType, Question
from strive_rl.answers.choice import read_choice
from strive_rl.answers.similarity import rouge_mean, spans_in, split_words, temporal_iou, word_error_rate
from strive_rl.answers.statements import UNSEEN, read_number

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
EMPTY_THOUGHT = re.compile(r"\A\s*<think>\s*</think>(?=\s*<think>)")


def outside_thoughts(text: str) -> str:
    """The text without its thoughts. What precedes a `</think>` that nothing opened is a thought, too; so is
    what follows a `<think>` that is never closed."""
    parts: list[str] = []
    inside = False
    for part in re.split("(</?think>)", text):
        if part == "</think>" and not inside:
            parts.clear()
        elif part in ("<think>", "</think>"):
            inside = part == "<think>"
        elif not inside:
            parts.append(part)
    return "".join(parts)


def final_answer(text: str) -> str | None:
    """Content of the last `<answer>` outside of a thought, stripped; None where it is absent or unclosed."""
    _, opened, rest = outside_thoughts(text).rpartition("<answer>")
    answer, closed, _ = rest.partition("</answer>")
    return answer.strip() if opened and closed else None


def has_form(text: str) -> bool:
    """Whether the whole text is `<think>…</think>` then `<answer>…</answer>`, each once and neither blank; an
    empty thought before them is a chat template's, of a model whose own thoughts are off."""
    text = EMPTY_THOUGHT.sub("", text)
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    head, _, tail = text.strip().partition("</think>")
    tail = tail.strip()
    if not (head.startswith("<think>") and tail.startswith("<answer>") and tail.endswith("</answer>")):
        return False
    return _is_seen(head.removeprefix("<think>")) and _is_seen(final_answer(text) or "")


def has_direct_form(text: str) -> bool:
    """Whether the text is an answer alone, in tags or bare, after one thought at most."""
    thought, closed, rest = text.strip().rpartition("</think>")
    answer = rest.strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    thinks_first = thought.startswith("<think>") if closed else True
    return _is_seen(answer) and thinks_first and not any(tag in thought[1:] + answer for tag in TAGS)


def _is_seen(text: str) -> bool:
    return bool(UNSEEN.sub("", text).strip())


# Exact, since 1 − .9 < .1 in floating point would refuse an error of exactly ten per cent.
MRA_TOLERANCES = tuple(Fraction(100 - percent, 100) for percent in range(50, 100, 5))


def accuracy_of(answer: str, question: Question) -> float:
    """Accuracy in [0, 1] of a bare answer.

    Raises ValueError only for a question whose own answer cannot be read as its type asks; `annotations`
    refuses such rows.
    """
    return SCORERS[question.problem_type](answer, question)


def mean_relative_accuracy(value: Fraction, truth: Fraction) -> float:
    """Share of θ ∈ {.50, .55, …, .95} with |value − truth|/|truth| ≤ 1 − θ (VSI-Bench). Truth 0: 1 or 0."""
    error = abs(value - truth)
    return sum(error <= tolerance * abs(truth) for tolerance in MRA_TOLERANCES) / len(MRA_TOLERANCES)


def _choice(answer: str, question: Question) -> float:
    truth = read_choice(question.answer, question.options)
    if truth is None:
        raise ValueError(f"question {question.sample_id}: answer {question.answer!r} is none of its options")
    return float(read_choice(answer, question.options) == truth)


def _numerical(answer: str, question: Question) -> float:
    """1 where both numbers are equal once rounded to 2 decimals (exactly, half to even)."""
    value, truth = read_number(answer), _true_number(question)
    return float(value is not None and round(value, 2) == round(truth, 2))


def _regression(answer: str, question: Question) -> float:
    value, truth = read_number(answer), _true_number(question)
    return 0.0 if value is None else mean_relative_accuracy(value, truth)


def _ocr(answer: str, question: Question) -> float:
    """1 − word error rate, not below 0. Case counts: the text is asked for as it is written."""
    truth = split_words(question.answer)
    if not truth:
        raise ValueError(f"question {question.sample_id}: the transcribed text is empty")
    return max(0.0, 1 - word_error_rate(split_words(answer), truth))


def _free_form(answer: str, question: Question) -> float:
    return rouge_mean(answer, question.answer)


def _grounding(answer: str, question: Question) -> float:
    """Temporal IoU with all spans that the answer gives."""
    truth = read_spans(question.answer)
    if truth is None:
        raise ValueError(f"question {question.sample_id}: answer {question.answer!r} is no span of seconds")
    return temporal_iou(spans_in(answer), truth)


def _true_number(question: Question) -> Fraction:
    truth = parse_number(question.answer)
    if truth is None:
        raise ValueError(f"question {question.sample_id}: answer {question.answer!r} is not a number")
    return truth


SCORERS: dict[ProblemType, Callable[[str, Question], float]] = {
    "multiple choice": _choice,
    "numerical": _numerical,
    "regression": _regression,
    "OCR": _ocr,
    "free-form": _free_form,
    "temporal grounding": _grounding,
}
