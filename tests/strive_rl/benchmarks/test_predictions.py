"""Files of predictions, and the items that their rows answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.items import Item
from strive_rl.benchmarks.predictions import Prediction, join, read_records, text_key, video_key
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_videos_are_reported_by_their_name_and_questions_by_their_words() -> None:
    assert video_key("./videos/AbC.mp4") == video_key("abc.MKV") == video_key("data\\abc") == "abc"
    assert text_key("Who\nruns?", ("A. he", "(B) she")) == text_key("who runs\nA) he\nB. she")
    assert text_key("Who runs?") != text_key("Who ran?")


def test_a_list_lines_and_an_object(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('[{"a": 1}, 2]')
    records = read_records(file)
    assert (records.rows, records.bad) == ((("p.json item 1", {"a": 1}),), ("p.json item 2: no JSON object",))
    file.write_bytes('\ufeff{"a": "x\u2028y"}\n\n{"b": 2}\n{"cut'.encode())
    records = read_records(file)
    assert [row for _, row in records.rows] == [{"a": "x\u2028y"}, {"b": 2}]
    assert records.bad == ("p.json line 4: no JSON object",)
    file.write_text('{"results": []}')
    assert read_records(file).tree == {"results": []}


@pytest.mark.parametrize("body", ["", "[]", "words", "[1, 2]"])
def test_a_file_without_an_object_is_refused(tmp_path: Path, body: str) -> None:
    file = tmp_path / "p.json"
    file.write_text(body)
    with pytest.raises(UsageError, match="no JSON object in it"):
        read_records(file)
    with pytest.raises(UsageError, match="No such file"):
        read_records(tmp_path / "absent")


def test_rows_of_a_list_within_the_file(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text('{"results": [{"a": 1}, 3, {"a": 2}]}')
    records = read_records(file)
    assert records.listed("results") == (("out.json results[0]", {"a": 1}), ("out.json results[2]", {"a": 2}))
    assert records.listed("logs") == records.rows


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


def test_predictions_of_questions_that_agree_are_elected_round_by_round() -> None:
    items = [asked("Which?", name) for name in ("q0", "q1")]
    given = [said(place, video="v", question="Which?") for place in "012345"]
    joined = join(items, given, lambda item, mine: mine[-1])
    assert {name: each.place for name, each in joined.predictions.items()} == {"q0": "4", "q1": "5"}
    assert joined.voters == 6
