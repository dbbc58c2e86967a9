"""Fields, templates and types of one row, by hand-made rows in each benchmark's published shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.annotations.apply_recipe import (
    RecipeReader,
    options_by_letter,
    read_choices,
)
from strive_data.annotations.question import question_of
from strive_data.annotations.recipes import Fields, Recipe, Rules, TypeRule, packaged_recipes
from strive_data.annotations.rows import Item
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import SampleError
from tests.strive_data.annotations.made_rows import ANYTHING

LABELS = {"options": "choices", "solution": "answer_id"}


def read(rules, **layout):
    read_choices(layout, Rules(**rules), LABELS)
    return layout


def refused(rules, **layout):
    with pytest.raises(SampleError) as caught:
        read(rules, **layout)
    return caught.value.message


@pytest.mark.parametrize(
    ("options", "lettered"),
    [
        (["red", "blue"], ["A. red", "B. blue"]),
        (["A. red", "B. blue"], ["A. red", "B. blue"]),
        (["(A) red", "B) blue "], ["A. red", "B. blue"]),
        # Not letters of their own: the second should be B, the third has none.
        (["A. Smith", "C. Jones"], ["A. A. Smith", "B. C. Jones"]),
        (["A. red", "blue"], ["A. A. red", "B. blue"]),
        (["A. red", 5], ["A. red", 5]),
        ("red", "red"),
    ],
)
def test_letters_are_added_where_they_are_not_there(options, lettered):
    assert read({"options": "any"}, options=options)["options"] == lettered


def test_more_options_than_letters():
    assert refused({"options": "any"}, options=["x"] * 27).startswith("choices: got 27 options")


@pytest.mark.parametrize("number", [3, "3", " 3 "])
def test_an_answer_may_count_the_options_from_0_or_from_1(number: object) -> None:
    for rule, counted in (("number", number), ("index", int(number) - 1), ("index", f" {int(number) - 1} ")):
        layout = read({"options": "any", "answer": rule}, options=["x", "y", "z"], solution=counted)
        assert layout["solution"] == "C"
    for rule, wrong, first, other in (("number", 0, "1 to 3", "index"), ("index", 3, "0 to 2", "number")):
        message = refused({"options": "any", "answer": rule}, options=["x", "y", "z"], solution=wrong)
        assert first in message
        assert f'rules.answer = "{other}"' in message


@pytest.mark.parametrize("index", [3, -1, "3", "-1", "B", "", None, True, 1.0, "²", "9" * 5000])
def test_an_index_that_is_none(index):
    message = refused({"options": "any", "answer": "index"}, options=["x", "y", "z"], solution=index)
    assert message.startswith("answer_id: got ")
    assert "expected the number of an option, 0 to 2" in message


@pytest.mark.parametrize("answer", ["B", "(B)", "(b)", "b)", "blue", "B. blue", " blue ", "Blue."])
def test_an_option_by_its_letter_or_text(answer):
    layout = read({"answer": "option"}, options=["A. red", "B. blue"], solution=answer)
    assert layout["solution"] == "B"


def test_an_answer_that_is_no_option_is_left_for_the_check_and_one_of_two_meanings_refused():
    for answer in ("green", None):
        assert (
            read({"answer": "option"}, options=["A. red", "B. blue"], solution=answer)["solution"] == answer
        )
    for options, answer in ((["A. B", "B. A"], "A"), (["A. red", "B. red"], "red")):
        message = refused({"answer": "option"}, options=options, solution=answer)
        assert message == f"answer_id: got {answer!r}, which names the options A, B"


def test_options_at_the_end_of_the_question():
    question = "Which way?\nA. Note this.\nThen say:\nA. left\n B. right"
    layout = read({"options": "in question", "answer": "option"}, problem=question, solution="B. right")
    assert layout == {
        "problem": "Which way?\nA. Note this.\nThen say:",
        "options": ["A. left", "B. right"],
        "solution": "B",
    }
    assert read({"options": "in question"}, problem="Which way?")["options"] == []
    assert read({"options": "in question"}, problem=5) == {"problem": 5}


def test_options_by_letter():
    assert options_by_letter({"A": "red ", "B": "blue", "C": ""}, "choices") == ["A. red", "B. blue"]


@pytest.mark.parametrize("options", [{"AB": "x"}, {"a": "x"}, {"": "x"}, {"A": 5}])
def test_options_by_something_else(options):
    with pytest.raises(SampleError, match=r"choices: got .* expected a letter and a text"):
        options_by_letter(options, "choices")


MMVU = {
    "id": "validation_7",
    "video": "https://example.org/x/resolve/main/videos/Art/7.mp4",
    "question_type": "multiple-choice",
    "metadata": {"subject": "Art"},
    "question": "Which?",
    "choices": {"A": "red", "B": "blue", "C": ""},
    "answer": "B",
}
VIDEOMMMU = {
    "id": "dev_B_3",
    "question": "Which?",
    "options": ["red", "blue"],
    "answer": "B",
    "question_type": "perception",
}
PERCEPTION = {
    "video_name": "video_10",
    "question": "Which?",
    "question_id": 3,
    "options": ["red", "blue", "green"],
    "answer_id": 2,
    "area": "physics",
    "reasoning": "predictive",
    "tag": ["motion"],
}
VSI = {
    "id": 12,
    "dataset": "scannet",
    "scene_name": "scene0_00",
    "question_type": "object_counting",
    "question": "How many?",
    "options": None,
    "ground_truth": 4,
}
VIDEOMME = {
    "videoID": "fFj",
    "question_id": "001-1",
    "question": "Which?",
    "options": ["A. red", "B. blue", "C. green", "D. grey"],
    "answer": "C",
    "duration": "short",
    "task_type": "Counting Problem",
}
TEMPCOMPASS = {
    "video_id": "10",
    "dimension": "speed",
    "question": "Which way?\nA. left\nB. right",
    "answer": "B. right",
}
PLAIN = {"video": "x.mp4", "question": "Which?", "answer": "blue"}
PUBLISHED = {
    "mmvu": MMVU,
    "videommmu": VIDEOMMMU,
    "perceptiontest": PERCEPTION,
    "vsibench": VSI,
    "videomme": VIDEOMME,
    "tempcompass": TEMPCOMPASS,
    "plain": PLAIN,
}


def item(row, path="Perception/multi-choice.json"):
    return Item(path=Path(path), unit="here", number=-1, row=5, value=row)


def question(name, row, **changes):
    recipe = packaged_recipes()[name]
    reader = RecipeReader(recipe)
    return question_of(
        reader.layout(item(row, **changes)),
        VideoFolder(Path(), check_files=False),
        labels=reader.labels,
    )


def refused_row(name, row, **changes):
    with pytest.raises(SampleError) as caught:
        question(name, row, **changes)
    assert caught.value.kind == "bad_row"
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "sample_id", "video", "answer", "source"),
    [
        ("mmvu", "validation_7", "videos/Art/7.mp4", "B", "MMVU/Art"),
        ("videommmu", "Perception-dev_B_3", "dev_B_3.mp4", "B", "VideoMMMU/Perception/perception"),
        ("perceptiontest", "video_10-3", "videos/video_10.mp4", "C", "PerceptionTest/physics/predictive"),
        ("vsibench", "12", "scannet/scene0_00.mp4", "4", "VSI-Bench/object_counting"),
        ("videomme", "001-1", "videos/fFj.mp4", "C", "VideoMME/short/Counting Problem"),
        ("tempcompass", "multi-choice-10-speed-5", "videos/10.mp4", "B", "TempCompass/multi-choice/speed"),
        ("plain", "multi-choice-5", "x.mp4", "blue", ""),
    ],
)
def test_each_published_shape(name, sample_id, video, answer, source):
    read = question(name, PUBLISHED[name])
    assert (read.sample_id, read.video, read.answer, read.source) == (sample_id, video, answer, source)


def test_types_and_options():
    assert question("mmvu", MMVU).options == ("A. red", "B. blue")
    no_choices = dict.fromkeys("ABCDE", "")
    open_ended = MMVU | {"question_type": "open-ended", "choices": no_choices, "answer": "Dolly Zoom"}
    assert question("mmvu", open_ended).problem_type == "free-form"
    assert question("mmvu", open_ended).options == ()
    assert question("videommmu", VIDEOMMMU).options == ("A. red", "B. blue")
    assert question("videommmu", VIDEOMMMU | {"options": [], "answer": "5 A"}).problem_type == "free-form"
    assert question("perceptiontest", PERCEPTION | {"answer_id": "0"}).answer == "A"
    assert question("vsibench", VSI).problem_type == "regression"
    direction = {"question_type": "object_rel_direction_hard", "options": ["A. x", "B. y"]}
    assert question("vsibench", VSI | direction | {"ground_truth": "B"}).problem_type == "multiple choice"
    assert question("tempcompass", TEMPCOMPASS).question == "Which way?"
    yes_no = question("tempcompass", TEMPCOMPASS | {"answer": "no"}, path="yes_no.json")
    assert (yes_no.problem_type, yes_no.question) == ("free-form", TEMPCOMPASS["question"])


def test_a_table_of_texts():
    typed = {"problem_type": "numerical", "answer": "4", "evidence_spans": "[[1, 2.5]]"}
    numeric = question("plain", PLAIN | typed)
    assert (numeric.problem_type, numeric.evidence_spans) == ("numerical", ((1.0, 2.5),))
    for cell in ("red | blue", '["red", "blue"]', '{"A": "red", "B": "blue"}'):
        read = question("plain", PLAIN | {"options": cell})
        assert (read.options, read.answer) == (("A. red", "B. blue"), "B")
    assert question("plain", PLAIN | {"answer": 4}).answer == "4"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mmvu", {"video": "https://example.org/7.mp4"}, "video: got 'https://example.org/7.mp4', expected"),
        ("mmvu", {"video": 7.5}, "video: got 7.5, expected a text"),
        ("mmvu", {"question_type": "riddle"}, "question_type: got 'riddle', expected one of multiple-choice"),
        ("mmvu", {"question_type": None}, "question_type is missing"),
        ("mmvu", {"question_type": 5}, "question_type: got 5, expected a text"),
        ("mmvu", {"choices": {"A": "red"}}, "choices: got ['A. red'], expected two or more"),
        ("mmvu", {"choices": ["red", 5]}, "choices: got ['red', 5], expected a list of texts"),
        ("mmvu", {"choices": {"A": 5}}, "choices: got 'A': 5, expected a letter and a text"),
        ("mmvu", {"answer": "C"}, "answer: got 'C', not among the options A, B"),
        ("mmvu", {"answer": None}, "answer is missing"),
        ("mmvu", {"metadata": "Art"}, "metadata.subject is missing"),
        ("mmvu", {"id": 1.5}, "id: got 1.5, expected a whole number or a text"),
        ("mmvu", {"question": " "}, "question is empty"),
        ("perceptiontest", {"answer_id": 3}, "answer_id: got 3, expected the number of an option, 0 to 2"),
        ("perceptiontest", {"answer_id": None}, "answer_id: got None"),
        ("perceptiontest", {"video_name": None}, "video_name is missing"),
        ("perceptiontest", {"video_name": True}, "video_name: got True, expected a text or a number"),
        ("perceptiontest", {"options": []}, "answer_id: got 2, expected"),
        ("vsibench", {"ground_truth": float("nan")}, "ground_truth: got nan, expected a text or a number"),
        ("vsibench", {"ground_truth": "many"}, "ground_truth: got 'many', expected a finite number"),
        ("vsibench", {"ground_truth": 10**400}, "ground_truth: got 1000"),
        ("vsibench", {"question_type": "new"}, "question_type: got 'new', expected one of"),
        ("tempcompass", {"answer": "C. up"}, "answer: got 'C. up', not among the options A, B"),
        ("tempcompass", {"question": "A. left\nB. right"}, "question is empty"),
        ("plain", {"problem_type": "riddle"}, "problem_type: got 'riddle', expected one of multiple choice"),
        (
            "plain",
            {"question": "?\nA. a\nb\nB. c\nC. d", "answer": "A"},
            "the question ends in the options 'B, C'",
        ),
    ],
)
def test_bad_rows_are_reported_by_their_own_names(name, change, message):
    assert refused_row(name, PUBLISHED[name] | change).startswith(message)


def test_tables_of_texts_are_reported_by_cell():
    assert refused_row("plain", PLAIN | {"options": "[red"}).startswith(
        "options: got '[red', expected a list as JSON: broken JSON"
    )
    spans = refused_row("plain", PLAIN | {"evidence_spans": "1-2"})
    assert "expected spans of seconds as JSON, [[1.2, 2.0]]: broken JSON" in spans
    twice = refused_row("plain", PLAIN | {"options": '{"A": "x", "A": "y"}'})
    assert twice.endswith("the key 'A' appears twice in one object")
    assert refused_row("plain", PLAIN | {"options": "[\udcff"}).endswith("not UTF-8 at byte 1")
    assert refused_row("plain", PLAIN | {"answer": "\udcff"}).startswith("answer: got")


def test_a_renamed_task_file_is_reported():
    message = refused_row("tempcompass", TEMPCOMPASS, path="mc.json")
    assert message == "@file: got 'mc', expected one of multi-choice, yes_no, caption_matching, captioning"


def test_the_video_stays_below_the_root():
    with pytest.raises(SampleError) as caught:
        question("videomme", VIDEOMME | {"videoID": "../../x"})
    assert (caught.value.kind, caught.value.message) == (
        "outside_root",
        "video 'videos/../../x.mp4' leaves the data root .; --data-root names a folder that holds all videos",
    )


def test_identity_of_what_cannot_be_read():
    recipe = packaged_recipes()["perceptiontest"]
    assert RecipeReader(recipe).identity(item({"video_name": "v"})) == {"path": "videos/v.mp4"}
    assert RecipeReader(recipe).identity(item("no row")) == {}


def test_a_type_otherwise():
    rule = TypeRule(field="kind", ocr=("text",), otherwise="free-form")
    fields = Fields(id="id", video="v", question="q", answer="a")
    recipe = Recipe(title="x", fields=fields, problem_type=rule)
    for kind, problem_type in (("text", "OCR"), *((other, "free-form") for other in ("poem", None, []))):
        assert RecipeReader(recipe).layout(item({"kind": kind}))["problem_type"] == problem_type
    assert RecipeReader(recipe).layout(item({})) == {"problem_type": "free-form"}


@settings(max_examples=300)
@given(st.data())
def test_any_value_in_any_field_gives_a_question_or_one_failure(data):
    name = data.draw(st.sampled_from(sorted(PUBLISHED)))
    row = PUBLISHED[name]
    change = data.draw(st.dictionaries(st.sampled_from([*sorted(row), "options"]), ANYTHING, max_size=2))
    try:
        question(name, row | change)
    except SampleError as error:
        shown = error.message.encode("utf-8")
        assert b"\n" not in shown
        assert len(shown) < 1000
