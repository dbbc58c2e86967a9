"""How close an answer is to the truth: of texts, word error rate and ROUGE; of spans of time, temporal IoU.

Pure and bounded: no text makes them fail or explode. Temporal IoU is the measure of TALL (Gao et al., ICCV
2017, arXiv 1705.02101) and the reward of Time-R1 and OneThinker: the seconds in both spans over the seconds
in either. Of several spans it is that of their unions, so overlapping and repeated spans count once. Differs
from Time-R1, which reads the last span alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from strive_data.annotations.numbers import find_spans
from strive_data.schema import Span
from strive_rl.answers.statements import plain_text

# Chinese and Japanese, which put no spaces between words: each character is a word.
CJK = r"\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
WRITTEN = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
MARKS = " \n\t\"'`*_“”‘’「」"
SPOKEN = re.compile(rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+")


def split_words(text: str) -> list[str]:
    """The words of a text as they are written, signs and case included; no quotes and marks around it."""
    return WRITTEN.findall(text.strip(MARKS) or text)


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

    Words are runs of letters and digits, case folded, not stemmed; a Chinese or Japanese character is a word.
    A truth of one word has no pair of words: there ROUGE-2 is left out of the mean, or a right answer could
    not reach 1.
    """
    words, expected = _words(text), _words(truth)
    if not words or not expected:
        return 0.0
    scores = [_rouge_n(words, expected, 1), _f1(_common_length(words, expected), len(words), len(expected))]
    if len(expected) > 1:
        scores.append(_rouge_n(words, expected, 2))
    return sum(scores) / len(scores)


def _words(text: str) -> list[str]:
    return SPOKEN.findall(text.casefold())


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


IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""Of R@IoU, as published results give it."""


def spans_in(answer: str) -> tuple[Span, ...]:
    """The spans that an answer gives, in seconds."""
    return find_spans(plain_text(answer))


def temporal_iou(given: Sequence[Span], true: Sequence[Span]) -> float:
    """|∪given ∩ ∪true| / |∪given ∪ ∪true| in seconds, in [0, 1]; 0 where either has no length."""
    ours, theirs = _union(given), _union(true)
    both = sum(max(0.0, min(end, stop) - max(start, begin)) for start, end in ours for begin, stop in theirs)
    # Summed as in published code, so that both agree to the bit.
    either = sum(end - start for start, end in _union([*given, *true]))
    return min(both / either, 1.0) if both > 0 else 0.0


def recalls(ious: Sequence[float]) -> dict[str, float]:
    """Share of answers whose IoU reaches each threshold: {"R@0.3": …}."""
    return {f"R@{least}": sum(iou >= least for iou in ious) / len(ious) for least in IOU_THRESHOLDS}


def _union(spans: Sequence[Span]) -> list[Span]:
    """The same seconds in spans that do not meet, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined
