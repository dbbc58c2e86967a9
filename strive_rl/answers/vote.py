"""Several answers to one question → the one that they elect. Pure; it never reads the question's own answer.

Wang et al., arXiv 2203.11171 (self-consistency): the most frequent answer. What counts as the same answer
follows from the type of the question:

    letter   the option that a text settles on; most votes
    number   the value to 2 decimals that most give, if several do; else the number nearest to the median
    text     the text most like the others (medoid): by mean ROUGE, for a transcription by word error rate
    spans    the spans most like the others (medoid) by temporal IoU
    open     the text in a given normal form; most votes

The elected answer is always one of the texts, so that any rule of scoring applies to it. Of equal votes the
answer of the larger log-probability wins, then the earlier one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp
from statistics import median

from strive_data.schema import GROUNDING, Question
from strive_rl.answers.choice import read_choice
from strive_rl.answers.similarity import rouge_mean, spans_in, split_words, temporal_iou, word_error_rate
from strive_rl.answers.statements import read_number

Places = list[int]
Similarity = Callable[[str, str], float]


@dataclass(frozen=True, kw_only=True)
class Election:
    """`index` of the elected text, and the `agreement` in [0, 1]: the share of all texts that say the same;
    of free texts the mean similarity to the others. 0 where no text holds an answer."""

    index: int
    agreement: float


Voter = Callable[[Sequence[str], Question, Sequence[float]], Election]
"""(texts of completions, question, mean log-probability of a token of each) → who is elected."""


def elect(
    answers: Sequence[str | None],
    question: Question,
    logprobs: Sequence[float] = (),
    *,
    form: Callable[[str], str] | None = None,
) -> Election:
    """Elect one of the bare answers; None and "" are no votes.

    `logprobs` has the mean log-probability of a token of each text, or is empty: the earlier one wins ties.
    `form` gives the normal form of an open answer; without it free text is compared by similarity. Raises
    ValueError for no answers, or another number of log-probabilities.
    """
    if not answers or (logprobs and len(logprobs) != len(answers)):
        raise ValueError(f"{len(answers)} answers with {len(logprobs)} log-probabilities")
    weights = [exp(each) for each in logprobs] or [1.0] * len(answers)
    given = [answer or "" for answer in answers]
    kind = question.problem_type
    if kind == "multiple choice":
        return _majority([read_choice(each, question.options) if each else None for each in given], weights)
    if kind in ("numerical", "regression"):
        return _number([read_number(each) if each else None for each in given], weights)
    if kind == GROUNDING:
        return _medoid([each if spans_in(each) else "" for each in given], weights, _span_likeness)
    if kind == "free-form" and form is not None:
        return _majority([form(each) or None for each in given], weights)
    return _medoid(given, weights, _transcription_likeness if kind == "OCR" else rouge_mean)


def _majority(votes: Sequence[Hashable | None], weights: Sequence[float]) -> Election:
    """The value with most votes; of equally many the one with the larger sum of probabilities."""
    classes = _classes(votes)
    if not classes:
        return Election(index=_likeliest(range(len(votes)), weights), agreement=0.0)
    won = max(classes, key=lambda places: (len(places), sum(weights[i] for i in places)))
    return Election(index=_likeliest(won, weights), agreement=len(won) / len(votes))


def _number(values: Sequence[Fraction | None], weights: Sequence[float]) -> Election:
    rounded = [None if value is None else round(value, 2) for value in values]
    sizes = sorted((len(places) for places in _classes(rounded)), reverse=True)
    if not sizes or (sizes[0] > 1 and sizes[0] > sum(sizes[1:2])):
        return _majority(rounded, weights)
    known = {place: value for place, value in enumerate(values) if value is not None}
    middle = median(known.values())
    nearest = min(abs(value - middle) for value in known.values())
    near = [place for place, value in known.items() if abs(value - middle) == nearest]
    index = _likeliest(near, weights)
    return Election(index=index, agreement=rounded.count(rounded[index]) / len(values))


def _medoid(texts: Sequence[str], weights: Sequence[float], similarity: Similarity) -> Election:
    """The text with the largest mean similarity to the others; a text without words is none of them."""
    places = [place for place, text in enumerate(texts) if text.strip()]
    if not places:
        return Election(index=_likeliest(range(len(texts)), weights), agreement=0.0)
    if len(places) == 1:
        return Election(index=places[0], agreement=1 / len(texts))
    means = {i: _mean_likeness(i, places, texts, similarity) for i in places}
    best = max(means.values())
    # Sums of the same similarities in another order differ by rounding.
    index = _likeliest([i for i in places if best - means[i] < 1e-9], weights)
    return Election(index=index, agreement=means[index])


def _mean_likeness(place: int, places: Places, texts: Sequence[str], similarity: Similarity) -> float:
    others = [similarity(texts[place], texts[other]) for other in places if other != place]
    return sum(others) / len(others)


def _transcription_likeness(text: str, other: str) -> float:
    """1 − word error rate, as OCR is scored; case counts."""
    return max(0.0, 1 - word_error_rate(split_words(text), split_words(other)))


def _span_likeness(text: str, other: str) -> float:
    return temporal_iou(spans_in(text), spans_in(other))


def _classes(votes: Sequence[Hashable | None]) -> list[Places]:
    """Places of equal votes, in the order of their first."""
    places: dict[Hashable, Places] = defaultdict(list)
    for place, vote in enumerate(votes):
        if vote is not None:
            places[vote].append(place)
    return list(places.values())


def _likeliest(places: Sequence[int], weights: Sequence[float]) -> int:
    return max(places, key=lambda place: (weights[place], -place))
