"""Reads a file of predictions into JSON records, whatever their layout; a broken line costs only itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import Any

from strive_data.annotations.question import question_of
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import SampleError, UsageError
from strive_rl.benchmarks.item import Benchmark, Item
from strive_rl.benchmarks.items import tags_of


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An output, and what identifies its question: possible `ids`, video, question text and options.

    `place` is its position in the file, for messages. `group` is a tag value of its question (a task, a
    track). `judgement` in [0, 1] is a judge's, where the file holds one. `item` is the whole question, where
    the file holds that. `frames` is whatever it says of the frames used. `outputs` are all answers to the
    question, where several were sampled; `output` is the first. `logprobs` are the mean
    log-probabilities of a token of each answer, where known.
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
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """Predictions in the order of a file; `bad` are the places and reasons of rows without one."""

    predictions: tuple[Prediction, ...]
    bad: tuple[str, ...] = ()
    format: str = ""


def video_key(video: str) -> str:
    """A video's name without folders, suffix and case, which change when files are moved and converted."""
    return PurePosixPath(video.replace("\\", "/")).stem.casefold()


def text_key(question: str, options: tuple[str, ...] = ()) -> str:
    """Letters and digits of a question and its options, without layout and punctuation."""
    return " ".join(re.findall(r"[^\W_]+", " ".join([question, *options]).casefold()))


def lettered(options: object) -> tuple[str, ...]:
    """Options as "A. text", from a list with or without letters or from {"A": "text"}; else none."""
    if isinstance(options, Mapping):
        return tuple(f"{letter}. {text}" for letter, text in options.items() if text)
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        return ()
    pairs = list(zip(options, ascii_uppercase, strict=False))
    if all(o.lstrip("( ").startswith((f"{x}.", f"{x})", f"{x}:")) for o, x in pairs):
        return tuple(options)
    return tuple(f"{letter}. {option}" for option, letter in pairs)


def item_of(
    layout: Mapping[str, Any],
    row: Mapping[str, Any],
    benchmark: Benchmark,
    path: Path = Path(),
    tags: Mapping[str, str] | None = None,
) -> Item | None:
    """The question of a row that holds all of it, given in Video-R1's layout; None where it is not usable.

    Its tags are `tags`, or those that the benchmark reads from the row.
    """
    try:
        question = question_of(layout, VideoFolder(Path(), check_files=False))
    except SampleError:
        return None
    return Item(question=question, tags=tags_of(benchmark, row, path) if tags is None else tags)


EXPECTED = (
    "expected JSON or JSON lines: our own predictions, or the output of lmms-eval, Video-R1, TempCompass, "
    "VideoMME or MMVU"
)


@dataclass(frozen=True, kw_only=True)
class Records:
    """(place, record) of each row; `tree` is the file's one object, if it is one; `bad` lines."""

    path: Path
    rows: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    tree: Mapping[str, Any] | None = None
    bad: tuple[str, ...] = ()

    def listed(self, name: str) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """The rows of the list under a name of the file's one object; else all rows."""
        values = self.tree.get(name) if self.tree else None
        if not isinstance(values, list):
            return self.rows
        places = ((f"{self.path.name} {name}[{number}]", value) for number, value in enumerate(values))
        return tuple((place, value) for place, value in places if isinstance(value, Mapping))


def read_records(path: Path, what: str = "predictions", expected: str = EXPECTED) -> Records:
    """Read a file of `what`. Raises UsageError for a file that is absent or holds no JSON object."""
    try:
        body = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UsageError(f"{what} {path}: {error.strerror}; {expected}") from error
    empty = f"{what} {path}: no JSON object in it; {expected}"
    whole = _json(body)
    if isinstance(whole, dict):
        return Records(path=path, rows=((path.name, whole),), tree=whole)
    if isinstance(whole, list):
        return _rows(
            path, [(f"{path.name} item {n}", value) for n, value in enumerate(whole, start=1)], empty
        )
    # Bytes: a text would also be cut at U+2028 and its like, which JSON allows within a string.
    lines = [(number, raw) for number, raw in enumerate(body.split(b"\n"), start=1) if raw.strip()]
    return _rows(path, [(f"{path.name} line {number}", _json(raw)) for number, raw in lines], empty)


def _rows(path: Path, values: list[tuple[str, object]], empty: str) -> Records:
    rows = tuple((place, value) for place, value in values if isinstance(value, dict))
    if not rows:
        raise UsageError(empty)
    bad = tuple(f"{place}: no JSON object" for place, value in values if not isinstance(value, dict))
    return Records(path=path, rows=rows, bad=bad)


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
