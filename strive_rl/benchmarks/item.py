"""What passes between the readers, the rules and the aggregation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from strive_data.schema import Question

Row = Mapping[str, Any]
PRODUCT = " × "  # "task × dimension" is a breakdown by both
Status = Literal["scored", "judged", "awaiting judge", "missing", "unusable"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a benchmark: `tags` are what results are broken down by ({"duration": "short"}).

    `judge_question` and `judge_reference` stand for question and answer before a judge, where the benchmark
    asks it something else than the model.
    """

    question: Question
    tags: Mapping[str, str] = field(default_factory=dict)
    judge_question: str = ""
    judge_reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """A row of the annotation that is no question, and why not."""

    sample_id: str
    video: str
    message: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rules say of one output: `value` in [0, 1], None where they cannot tell and a judge must.

    `extracted` is what was taken as the answer, None where no answer could be read.
    """

    value: float | None
    extracted: str | None


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way of scoring: of an output (None: this way has no rule for such a question), and of averaging.

    `strata` gives (task, part) by the tags of an item for a macro mean: over tasks, of each the mean over its
    parts. Without it the mean is over questions.
    """

    name: str
    score: Callable[[str, Item], Verdict | None]
    strata: Callable[[Mapping[str, str]], tuple[str, str]] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark. The first convention is its own; results lead with it.

    `published` is the number of its questions, 0 where that is not fixed. `files` are the names of its
    annotation files as published, each a choice of patterns below the data root. `tags` reads them from a row
    of such a file or of one in Video-R1's layout; `breakdowns` are those that tables show, in order.
    A tag "a × b" is made of the tags a and b. `order` has values of tags that stand in an order of their own.
    `judge_task` says what a judge is asked, where there are questions for one; `finish` adds to items what
    only all of them together tell. `form` is the line of a prompt that asks for the answer as the rules read
    it, "" where the form of the question's type is that.
    """

    name: str
    title: str
    published: int
    files: tuple[tuple[str, ...], ...] = ()
    tags: Callable[[Row, Path], dict[str, str]]
    breakdowns: tuple[str, ...]
    conventions: tuple[Convention, ...]
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    judge_task: str = ""
    finish: Callable[[Sequence[Item]], Sequence[Item]] | None = None
    form: Callable[[Item], str] = lambda item: ""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One question with its output (None: missing) and what each convention says of it.

    `values` has the conventions that have a rule for the question; a value is None while it awaits a judge.
    `frames` is what the prediction says of the frames it was made from (sampler, times in seconds). `outputs`
    are all answers where several were sampled: `output` and `extracted` are then the first's, values means.
    """

    sample_id: str
    video: str
    status: Status
    question: str = ""
    options: tuple[str, ...] = ()
    reference: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    extracted: str | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def text_of(row: Row, *names: str) -> str:
    """The first of the named fields that is a text or a whole number, "" if none is."""
    for name in names:
        value: Any = row
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""
