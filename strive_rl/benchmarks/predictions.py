"""A file of predictions → JSON records, whatever their layout, and predictions → the items that they answer.

A broken line costs only itself. An item is found by its id, else by its video and question.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from typing import Any

from strive_data.annotations.question import question_of
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import SampleError, UsageError
from strive_rl.benchmarks.items import Benchmark, Item, tags_of


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


Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The prediction of each item by sample id; those without an item; the number of identical repeats, or of
    all `voters` where predictions were elected."""

    predictions: dict[str, Prediction]
    unknown: tuple[Prediction, ...]
    repeated: int
    voters: int = 0


Taken = Mapping[str, Sequence[Prediction]]
"""The predictions found so far, by sample id."""
Elector = Callable[[Item, Sequence[Prediction]], Prediction]


def join(items: Sequence[Item], predictions: Sequence[Prediction], elect: Elector | None = None) -> Joined:
    """Find each prediction's item.

    A known id decides, unless the prediction has another question or video; then video and question with
    options, then video and question; for a prediction without a video, question, options and tags. Items that
    agree in these (a question asked twice of one video) are answered in their order. `elect` chooses among
    the predictions of one item; without it UsageError is raised where two different outputs answer one.
    """
    index = _Index(items, predictions, several=elect is not None)
    found: dict[str, list[Prediction]] = defaultdict(list)
    unknown = []
    for prediction in predictions:
        sample_id = index.find(prediction, found)
        if sample_id is None:
            unknown.append(prediction)
        else:
            found[sample_id].append(prediction)
    if elect is not None:
        taken = {name: elect(index.items[name], given) for name, given in found.items()}
        voters = sum(map(len, found.values()))
        return Joined(predictions=taken, unknown=tuple(unknown), repeated=0, voters=voters)
    return _one_each(found, unknown)


def _one_each(found: Mapping[str, Sequence[Prediction]], unknown: Sequence[Prediction]) -> Joined:
    for sample_id, (first, *others) in found.items():
        for other in others:
            if other.output != first.output:
                raise UsageError(
                    f"question {sample_id} is answered twice, differently: {first.place} and {other.place}; "
                    "keep one answer a question (for several frame samplers: --sampler), or elect one: --vote"
                )
    return Joined(
        predictions={sample_id: given[0] for sample_id, given in found.items()},
        unknown=tuple(unknown),
        repeated=sum(len(given) - 1 for given in found.values()),
    )


class _Index:
    """Sample ids of items by each of their keys."""

    def __init__(self, items: Sequence[Item], predictions: Sequence[Prediction], *, several: bool) -> None:
        self.several = several
        self.asked = Counter(_text_and_tags(prediction) for prediction in predictions)
        self.items = {item.question.sample_id: item for item in items}
        self.whole: dict[Key, list[str]] = defaultdict(list)
        self.bare: dict[Key, list[str]] = defaultdict(list)
        self.texts: dict[str, list[str]] = defaultdict(list)
        for sample_id, item in self.items.items():
            question, video = item.question, video_key(item.question.video)
            text = text_key(question.question, question.options)
            self.whole[video, text].append(sample_id)
            self.texts[text].append(sample_id)
            self.bare[video, text_key(question.question)].append(sample_id)

    def find(self, prediction: Prediction, taken: Taken) -> str | None:
        """Sample id of the prediction's item, None where there is none, or several that differ."""
        text = text_key(prediction.question, prediction.options)
        for sample_id in prediction.ids:
            item = self.items.get(sample_id)
            if item is not None and _same(item, prediction, text):
                return sample_id
        if not prediction.question:
            return None
        if not prediction.video:
            return self._by_text(text, prediction, taken)
        video = video_key(prediction.video)
        found = self._of_group(self.whole.get((video, text), []), prediction)
        if found:
            return self._next(found, taken)
        found = self._of_group(self.bare.get((video, text_key(prediction.question)), []), prediction)
        return found[0] if len(found) == 1 else None

    def _by_text(self, text: str, prediction: Prediction, taken: Taken) -> str | None:
        """The item with this text and, of the tags that both have, the prediction's; of several the next one,
        if all are answered."""
        own = (prediction.item.tags if prediction.item else {}).items()
        found = [
            i
            for i in self.texts.get(text, [])
            if all(self.items[i].tags.get(name, value) == value for name, value in own)
        ]
        asked = self.asked[_text_and_tags(prediction)]
        rounds = asked // len(found) if found and self.several else 1
        return self._next(found, taken) if asked == rounds * len(found) > 0 else None

    def _next(self, found: Sequence[str], taken: Taken) -> str:
        """Of items that agree the first without a prediction, else the first; with several predictions an
        item, the one that has fewest: they come round by round."""
        answers = [len(taken.get(sample_id, ())) for sample_id in found]
        return found[answers.index(min(answers))] if self.several or 0 in answers else found[0]

    def _of_group(self, found: Sequence[str], prediction: Prediction) -> list[str]:
        """Those whose tags hold the prediction's group (a task, a track), where it has one."""
        if not prediction.group:
            return list(found)
        mine = [i for i in found if prediction.group in self.items[i].tags.values()]
        return mine or list(found)


def _text_and_tags(prediction: Prediction) -> tuple[object, ...]:
    tags = prediction.item.tags if prediction.item else {}
    return text_key(prediction.question, prediction.options), *sorted(tags.items())


def _same(item: Item, prediction: Prediction, text: str) -> bool:
    """Whether a prediction with the item's id may be its answer: no other question, no other video."""
    question = item.question
    if prediction.question and text not in (
        text_key(question.question, question.options),
        text_key(question.question),
    ):
        return text_key(question.question) in text
    return not prediction.video or video_key(prediction.video) == video_key(question.video)
