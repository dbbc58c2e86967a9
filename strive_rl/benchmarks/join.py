"""Joins predictions to the items that they answer: by id, else by video and question. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Item
from strive_rl.benchmarks.predictions import Prediction, text_key, video_key

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
        """The item with this text and the prediction's tags; of several the next one, if all are answered."""
        found = [i for i in self.texts.get(text, []) if _tags_agree(self.items[i], prediction)]
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


def _tags_agree(item: Item, prediction: Prediction) -> bool:
    """Whether the tags that the prediction's own question and the item both have are equal."""
    own = prediction.item.tags if prediction.item else {}
    return all(item.tags[name] == value for name, value in own.items() if name in item.tags)


def _same(item: Item, prediction: Prediction, text: str) -> bool:
    """Whether a prediction with the item's id may be its answer: no other question, no other video."""
    question = item.question
    if prediction.question and text not in (
        text_key(question.question, question.options),
        text_key(question.question),
    ):
        return text_key(question.question) in text
    return not prediction.video or video_key(prediction.video) == video_key(question.video)
