"""How right a bare answer is, by its own question's type (METHOD.md section 6).

Total functions of the text: any text gives a finite value in [0, 1].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from strive_data.annotations.numbers import parse_number
from strive_data.schema import ProblemType, Question

# Reading an answer: where it stands in a response, and which option it names.
#
# Each function is total and gives None where the answer is absent, empty or ambiguous; nothing is guessed.

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# "B", "B.", "(B)", "B) text", "B. text"; a lone letter before a word ("A man ...") is an article instead.
LETTER_FORM = re.compile(r"(?:\(([A-Z])\)|([A-Z])(?=[.):]|$))[.):]?(?:\s+(.+))?", re.DOTALL)
LONE_CAPITAL = re.compile(r"\b[A-Z]\b")


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
    """Whether the whole text is `<think>…</think>` then `<answer>…</answer>`, each once and neither blank."""
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    head, _, tail = text.strip().partition("</think>")
    tail = tail.strip()
    if not (head.startswith("<think>") and tail.startswith("<answer>") and tail.endswith("</answer>")):
        return False
    return bool(head.removeprefix("<think>").strip() and final_answer(text))


def has_direct_form(text: str) -> bool:
    """Whether the text is an answer alone, in tags or bare, after one thought at most."""
    thought, closed, rest = text.strip().rpartition("</think>")
    answer = rest.strip().removeprefix("<answer>").removesuffix("</answer>").strip()
    thinks_first = thought.startswith("<think>") if closed else True
    return bool(answer) and thinks_first and not any(tag in thought[1:] + answer for tag in TAGS)


def option_letter(answer: str, options: Sequence[str]) -> str | None:
    """Letter of the one option that `answer` names; `options` in the form "A. text".

    Taken: the capital letter alone ("B", "B.", "(B)"), the exact text of one option with or without its
    letter (case, spacing and a final full stop aside), and the letter with other words after "." or ")"
    unless those words hold another option's text or letter. A letter alone wins over an option whose text is
    that letter.
    """
    texts = {option[0]: _plain(option[2:]) for option in options}
    form = LETTER_FORM.fullmatch(answer.strip())
    letter = (form[1] or form[2]) if form else None
    words = _plain(form[3] or "") if form else ""
    if letter in texts and words in ("", texts[letter]):
        return letter
    spelled = [name for name, text in texts.items() if text and text == _plain(answer)]
    if spelled:
        return spelled[0] if len(spelled) == 1 else None
    if form is None or letter not in texts:
        return None
    others = {name: text for name, text in texts.items() if name != letter}
    named = others.keys() & set(LONE_CAPITAL.findall(form[3]))
    held = any(text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", words) for text in others.values())
    return None if named or held else letter


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


# Closeness of two texts: word error rate and ROUGE. Pure and bounded: no text makes them fail or explode.


def word_error_rate(words: Sequence[str], truth: Sequence[str]) -> float:
    """Word edits (insert, delete, replace) from `truth` to `words`, over the words of `truth` (at least one).

    May exceed 1. Where the lengths alone make it 1 or more, that bound is returned and nothing is aligned.
    """
    least = abs(len(words) - len(truth))
    if least >= len(truth):
        return least / len(truth)
    row = list(range(len(truth) + 1))
    for i, word in enumerate(words, start=1):
        diagonal, row[0] = row[0], i
        for j, expected in enumerate(truth, start=1):
            replaced = diagonal + (word != expected)
            diagonal, row[j] = row[j], min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1] / len(truth)


def rouge_mean(text: str, truth: str) -> float:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L in [0, 1]; 1 exactly where the words are the same.

    Words are runs of letters and digits of any script, case folded, not stemmed. A truth of one word has no
    pair of words: there ROUGE-2 is left out of the mean, or a right answer could not reach 1.
    """
    words, expected = _words(text), _words(truth)
    if not words or not expected:
        return 0.0
    scores = [_rouge_n(words, expected, 1), _f1(_common_length(words, expected), len(words), len(expected))]
    if len(expected) > 1:
        scores.append(_rouge_n(words, expected, 2))
    return sum(scores) / len(scores)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _rouge_n(words: Sequence[str], truth: Sequence[str], n: int) -> float:
    ours, theirs = (Counter(zip(*(side[i:] for i in range(n)), strict=False)) for side in (words, truth))
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def _common_length(words: Sequence[str], truth: Sequence[str]) -> int:
    """Length of the longest common subsequence, one big-integer step a word (Hyyrö's bit-parallel form)."""
    places: dict[str, int] = {}
    for place, word in enumerate(truth):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(truth)) - 1
    state = full
    for word in words:
        matched = state & places.get(word, 0)
        state = ((state + matched) | (state - matched)) & full
    return len(truth) - state.bit_count()


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


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
    value, truth = parse_number(answer), _true_number(question)
    return float(value is not None and round(value, 2) == round(truth, 2))


def _regression(answer: str, question: Question) -> float:
    value, truth = parse_number(answer), _true_number(question)
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
}
