from __future__ import annotations

from dataclasses import replace

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Item
from strive_rl.benchmarks.predictions import Prediction, join
from tests.strive_rl.benchmarks.made_items import choice_item, item


def asked(text: str, name: str, video: str = "v", **tags: str) -> Item:
    one = item("x", name=name, **tags)
    return replace(one, question=replace(one.question, question=text, video=f"videos/{video}.mp4"))


def said(output: str, **of: object) -> Prediction:
    return Prediction(place=output, output=output, **of)  # type: ignore[arg-type]


def found(items: list[Item], *predictions: Prediction) -> dict[str, str]:
    return {i: p.output for i, p in join(items, predictions).predictions.items()}


def test_by_id_and_else_by_video_and_question() -> None:
    items = [asked("Who runs?", "1"), asked("Who sits?", "2"), asked("Who runs?", "3", video="w")]
    assert found(items, said("a", ids=("2",))) == {"2": "a"}
    assert found(items, said("a", video="W.mkv", question="who runs")) == {"3": "a"}
    assert found(items, said("a", video="v", question="who flies")) == {}


def test_an_id_of_another_numbering_does_not_decide() -> None:
    items = [asked("Who runs?", "1"), asked("Who sits?", "2")]
    prediction = said("a", ids=("1",), video="v", question="Who sits?")
    assert found(items, prediction) == {"2": "a"}
    assert found(items, said("a", ids=("1",), video="other")) == {}


def test_options_tell_questions_apart_that_read_alike() -> None:
    first, second = choice_item("A"), choice_item("A", ("A. x", "B. y"))
    second = replace(second, question=replace(second.question, sample_id="r"))
    prediction = said("a", video="q", question="What is seen?", options=("A) x", "B) y"))
    assert found([first, second], prediction) == {"r": "a"}
    assert join([first, second], [said("a", video="q", question="What is seen?")]).unknown


def test_a_question_asked_twice_is_answered_in_order_and_a_group_tells_tasks_apart() -> None:
    items = [asked("Is it?", "1"), asked("Is it?", "2")]
    answers = [said("yes", video="v", question="Is it?"), said("no", video="v", question="Is it?")]
    assert found(items, *answers) == {"1": "yes", "2": "no"}
    tracks = [asked("Why?", "p", track="Perception"), asked("Why?", "a", track="Adaptation")]
    assert found(tracks, said("x", video="v", question="Why?", group="Adaptation")) == {"a": "x"}


def test_a_repeated_line_is_counted_and_a_contradiction_refused() -> None:
    items = [asked("Who runs?", "1")]
    joined = join(items, [said("a", ids=("1",)), said("a", ids=("1",)), said("b", ids=("9",))])
    assert (joined.repeated, len(joined.unknown)) == (1, 1)
    with pytest.raises(UsageError, match="answered twice, differently: a and b"):
        join(items, [said("a", ids=("1",)), said("b", ids=("1",))])


def test_without_a_video_a_question_with_options_must_be_the_only_one() -> None:
    items = [choice_item("A"), replace(choice_item("A", size="big"), question=asked("Who?", "2").question)]
    assert found(items, said("a", question="What is seen?", options=items[0].question.options)) == {"q": "a"}
    twins = [replace(items[0], tags={"size": size}) for size in ("small", "big")]
    twins[1] = replace(twins[1], question=replace(twins[1].question, sample_id="r"))
    one = said("a", question="What is seen?", options=items[0].question.options)
    assert found(twins, one) == {}
    assert found(twins, replace(one, item=twins[1])) == {"r": "a"}
