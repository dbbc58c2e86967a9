"""How right a bare answer is, by its own question's type (METHOD.md section 6).

Total functions of the text: any text gives a finite value in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from strive_data.number import number
from strive_data.schema import ProblemType, Question
from strive_rl.answers import option_letter
from strive_rl.text_scores import rouge_mean, word_error_rate

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
    truth = option_letter(question.answer, question.options)
    if truth is None:
        raise ValueError(f"question {question.sample_id}: answer {question.answer!r} is none of its options")
    return float(option_letter(answer, question.options) == truth)


def _numerical(answer: str, question: Question) -> float:
    """1 where both numbers are equal once rounded to 2 decimals (exactly, half to even)."""
    value, truth = number(answer), _true_number(question)
    return float(value is not None and round(value, 2) == round(truth, 2))


def _regression(answer: str, question: Question) -> float:
    value, truth = number(answer), _true_number(question)
    return 0.0 if value is None else mean_relative_accuracy(value, truth)


def _ocr(answer: str, question: Question) -> float:
    """1 − word error rate, not below 0. Case counts: the text is asked for as it is written."""
    truth = question.answer.split()
    if not truth:
        raise ValueError(f"question {question.sample_id}: the transcribed text is empty")
    return max(0.0, 1 - word_error_rate(answer.split(), truth))


def _free_form(answer: str, question: Question) -> float:
    return rouge_mean(answer, question.answer)


def _true_number(question: Question) -> Fraction:
    truth = number(question.answer)
    if truth is None:
        raise ValueError(f"question {question.sample_id}: answer {question.answer!r} is not a number")
    return truth


SCORERS: dict[ProblemType, Callable[[str, Question], float]] = {
    "multiple choice": _choice,
    "numerical": _numerical,
    "regression": _regression,
    "OCR": _ocr,
    "free-form": _free_form,
}
