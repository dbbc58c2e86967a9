"""A file of predictions → its JSON records, whatever their layout; a broken line costs itself alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Item

# One answer of some system, before it is known which question it belongs to.


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An output and what tells its question: `ids` that it may have, and video and question text.

    `place` is where it stands, for messages. `judgement` in [0, 1] is a judge's, where the file holds one.
    `item` is the whole question, where the file holds that. `frames` is whatever it says of the frames used.
    `outputs` are all answers to the question, where several were sampled; `output` is the first.
    """

    place: str
    output: str
    ids: tuple[str, ...] = ()
    video: str = ""
    question: str = ""
    options: tuple[str, ...] = ()
    group: str = ""
    judgement: float | None = None
    item: Item | None = None
    frames: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """Predictions in the order of a file; `bad` are rows that hold none, with the reason."""

    format: str
    predictions: tuple[Prediction, ...]
    bad: tuple[str, ...] = ()


def video_key(video: str) -> str:
    """A video's name without folders and suffix, and case: files are moved and converted."""
    return PurePosixPath(video.replace("\\", "/")).stem.casefold()


def text_key(question: str, options: tuple[str, ...] = ()) -> str:
    """Letters and digits of a question and its options: layout and punctuation tell no questions apart."""
    return " ".join(re.findall(r"[^\W_]+", " ".join([question, *options]).casefold()))


EXPECTED = "expected JSON or JSON lines of our own, lmms-eval's, Video-R1's or TempCompass's output"


@dataclass(frozen=True, kw_only=True)
class Records:
    """(place, record) of each row; `tree` is the object that the whole file is, if it is one; `bad` lines."""

    path: Path
    rows: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    tree: Mapping[str, Any] | None = None
    bad: tuple[str, ...] = ()

    def listed(self, name: str) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """The rows of the list that the whole file's object holds under a name; else all rows."""
        values = self.tree.get(name) if self.tree else None
        if not isinstance(values, list):
            return self.rows
        places = ((f"{self.path.name} {name}[{number}]", value) for number, value in enumerate(values))
        return tuple((place, value) for place, value in places if isinstance(value, Mapping))


def read_records(path: Path, what: str = "predictions", expected: str = EXPECTED) -> Records:
    """Read a file of `what`. Raises UsageError for one that is absent, or holds no JSON object."""
    try:
        body = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UsageError(f"{what} {path}: {error.strerror}; {expected}") from error
    whole = _json(body)
    if isinstance(whole, dict):
        return Records(path=path, rows=((path.name, whole),), tree=whole)
    if isinstance(whole, list):
        items = [(f"{path.name} item {number}", value) for number, value in enumerate(whole)]
        return _rows(path, items, f"{what} {path}: no JSON object in it; {expected}")
    # Bytes: a text would also be cut at U+2028 and its like, which JSON allows within a string.
    lines = [(number, raw) for number, raw in enumerate(body.split(b"\n"), start=1) if raw.strip()]
    values = [(f"{path.name} line {number}", _json(raw)) for number, raw in lines]
    return _rows(path, values, f"{what} {path}: no JSON object in it; {expected}")


def _rows(path: Path, values: list[tuple[str, object]], none: str) -> Records:
    rows = tuple((place, value) for place, value in values if isinstance(value, dict))
    if not rows:
        raise UsageError(none)
    bad = tuple(f"{place}: no JSON object" for place, value in values if not isinstance(value, dict))
    return Records(path=path, rows=rows, bad=bad)


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
