"""Rows of public training sets: options, place holders, key frames, and what no rule reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from strive_data.annotations.read import read_annotations
from strive_data.errors import UsageError
from tests.strive_data.annotations.made_rows import EASYR1, IMAGE, STGR, VIDEO, VIRL, messages, read, verl


def test_key_frames_are_spans_of_a_second_on_both_sides(root: Path) -> None:
    frames = [{"time": 0.5, "path": "a.jpg"}, {"time": 7, "path": "b.jpg"}]
    row = STGR | {"task": "temporal-spatial free-form QA", "key_frames": frames}
    assert read(root, [row])[0].questions[0][1].evidence_spans == ((0.0, 1.5), (6.0, 8.0))
    for bad in ([{"path": "a.jpg"}], [{"time": -1}], [{"time": "1"}], 5):
        row = STGR | {"task": "General video QA Free-form", "key_frames": bad}
        (failure,) = read(root, [row])[0].failures
        assert "key_frames: got" in failure.message


TWICE = [*messages("Who?", "a man"), *messages("And?", "a dog")]


@pytest.mark.parametrize(
    ("row", "mentions"),
    [
        (EASYR1 | {"videos": [VIDEO, VIDEO]}, "videos: got 2 videos"),
        (EASYR1 | {"videos": []}, "got []"),
        (EASYR1 | {"videos": [["a.jpg", "b.jpg"]]}, "['a.jpg', 'b.jpg']"),
        (EASYR1 | {"problem_type": "temporal grounding"}, "'temporal grounding'"),
        (EASYR1 | {"problem_type": "multiple choice", "answer": "B"}, "options"),
        (EASYR1 | {"data_type": "image"}, "data_type: got 'image'"),
        (EASYR1 | {"videos": [], "images": ["a.jpg", "b.jpg"]}, "images: got 2 images"),
        (EASYR1 | {"images": ["a.jpg"]}, "got a video and an image"),
        (EASYR1 | {"videos": [], "images": [VIDEO]}, "data_type: got 'image', but 'v/x.mp4' names a video"),
        ({"messages": TWICE, "videos": [VIDEO], "solution": "a dog"}, "2 entries of role 'user'"),
        ({"conversations": [], "video": VIDEO}, "the answer in conversations is missing"),
        ({"messages": [], "videos": [VIDEO]}, "messages is missing"),
        (STGR | {"task": "temporal QA (MCQ)", "answer": "[1, 2]"}, "task: got 'temporal QA (MCQ)'"),
        (EASYR1 | {"videos": []} | {"images": []}, "videos: got []"),
        (VIRL | {"image": ["a.jpg", "b.jpg"]}, "image: got a list of 2 files, ['a.jpg', 'b.jpg']"),
        (
            verl("Who?", "x") | {"videos": [{"video": ["1.jpg", "2.jpg"]}]},
            "videos or prompt: got a list of 2",
        ),
        (EASYR1 | {"options": ["C. Ann", "C.", "A. Bob"], "answer": "C"}, "which names the options A, B, C"),
        (EASYR1 | {"options": ["Ann", "", "Bob"], "answer": "Bob"}, "of which one is empty"),
    ],
)
def test_a_row_that_no_rule_reads_is_a_failure(root: Path, row: Mapping[str, Any], mentions: str) -> None:
    found, _ = read(root, [row])
    assert not found.questions
    assert found.failures[0].kind == "bad_row"
    assert mentions in found.failures[0].message


ORDER, NAMES = ["B. Bob", "A. Ann"], ("A. Ann", "B. Bob")
ASKED: dict[str, Any] = {"video": VIDEO, "question": "Who?"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # Regression: the letter was taken for the place in the list, so that "B" was Ann.
        (EASYR1 | {"options": ORDER, "answer": "B"}, (("B. Bob", "A. Ann"), "B")),
        (EASYR1 | {"options": ORDER, "answer": "Ann"}, (("B. Bob", "A. Ann"), "A")),
        (EASYR1 | {"options": ["I. Newton", "A. Einstein"], "answer": "A"}, None),
        (
            EASYR1 | {"options": ["I. Newton", "A. Einstein"], "answer": "A. Einstein"},
            (("A. I. Newton", "B. A. Einstein"), "B"),
        ),
        # As MMR-V fills the places of options that a question does not have.
        (ASKED | {"options": ["(A) Ann", "(B) Bob", "", ""], "correctAnswer": "(B)"}, (NAMES, "B")),
        # As TVBench and NExT-GQA name them; regression: such options were not read.
        (ASKED | {"candidates": ["Ann", "Bob"], "answer": "Bob"}, (NAMES, "B")),
        (ASKED | {"id": "1", "options": ["(A) Ann", "(B) Bob"], "answer": "(B)", "type": "CW"}, (NAMES, "B")),
    ],
)
def test_options_of_public_sets(
    root: Path, row: Mapping[str, Any], expected: tuple[tuple[str, ...], str] | None
) -> None:
    found, _ = read(root, [row])
    assert [(one.options, one.answer) for _, one in found.questions] == ([expected] if expected else [])
    assert len(found.questions) + len(found.failures) == 1


COLOURS = ("A. red", "B. blue")


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who?\n(A) red\n(B) blue", "B", ("multiple choice", "Who?", COLOURS, "B")),
        ("Who?\nOptions:\nA. red\nB. blue", "(A)", ("multiple choice", "Who?", COLOURS, "A")),
        ("Who?\nA. red\nB. blue", "red", ("multiple choice", "Who?", COLOURS, "A")),
        ("How many?\nA. 2\nB. 3", "3", ("multiple choice", "How many?", ("A. 2", "B. 3"), "B")),
        ("Who? (A) red (B) blue", "Blue.", ("multiple choice", "Who?", COLOURS, "B")),
        ("Who? Options: A. red, B. blue", "B", ("multiple choice", "Who?", COLOURS, "B")),
        ("It is: A) red or B) blue", "blue", ("multiple choice", "It is:", COLOURS, "B")),
        ("Who?\nA. red\nB. Red", "Red", ("multiple choice", "Who?", ("A. red", "B. Red"), "B")),
        ("Who? A: red B: blue\nSay why.", "B", ("multiple choice", "Who?\nSay why.", COLOURS, "B")),
        ("Which letter is on the roof?", "B", ("free-form", "Which letter is on the roof?", (), "B")),
        *(
            (question, answer, ("free-form", question, (), answer))
            for question, answer in (
                ("Is step (A) longer than step (B)?", "B"),
                ("Who is longer, A. or B. ?", "B"),
                ("Who is it, J. A. Smith or B. Jones?", "B. Jones"),
                ("Who is it? J. A. Smith or B. Jones", "C. Miller"),
                ("Did he choose (A) red or (B) blue?", "red"),
                ("What happens after A. mixing B. baking?", "mixing"),
                ("What did the team of Serie A. do B. win", "win"),
                ("Who?\nA. red\nB. blue", "green"),
                ("Who?\nA. red\nB. red", "red"),
                ("Who? A. red", "red"),
                ("Who? B. red C. blue", "red"),
            )
        ),
    ],
)
@pytest.mark.parametrize("layout", ["table", "messages"])
def test_options_in_the_question_where_its_answer_names_one(
    root: Path, question: str, answer: str, expected: tuple[object, ...], layout: str
) -> None:
    """Regression: the letter, or the option's text, was the answer of a free-form question."""
    row: dict[str, Any] = {"video": VIDEO, "question": question, "answer": answer}
    if layout == "messages":
        row = {"videos": [VIDEO], "messages": messages(question, answer)}
    found, _ = read(root, [row, row])
    (reading,) = found.readings.values()
    for _, made in found.questions:
        assert (made.problem_type, made.question, made.options, made.answer) == expected
    counted = "2 questions with options in the text read as multiple choice" in reading.guesses
    assert (len(found.questions), counted) == (2, expected[0] == "multiple choice")


NEXT_QA = {"video": "v/x", "frame_count": "9", "question": "Who?", "qid": "6", "type": "CH", "answer": "1"}
FIVE = {f"a{i}": text for i, text in enumerate("pqrst")}
FIVE_LETTERED = ("A. p", "B. q", "C. r", "D. s", "E. t")
EGOSCHEMA = {"question_idx": "7", "video_idx": "v/x", "question": "Who?", "answer": "1"}
LISTED = {"i": "", "q": "Question: Who?\nOptions:\n(A) red\n(B) blue", "a": "Answer: (B) blue"}
# Its options are objects.
STAR = {"question_id": "I1", "video_id": "v/x", "question": "Who?", "answer": "blue", "start": 1.0}
STAR |= {"choices": [{"choice_id": n, "choice": text} for n, text in enumerate(("red", "blue"))]}
CHOSEN = ("multiple choice", COLOURS, "B")


@pytest.mark.parametrize(
    ("row", "recipe", "sample_id", "expected"),
    [
        (NEXT_QA | FIVE, "next-qa", "v/x-6", ("multiple choice", FIVE_LETTERED, "B")),
        (EGOSCHEMA | {"option": [*COLOURS]}, "egoschema", "7", CHOSEN),
        ({"video": VIDEO, "QA": [LISTED]}, "videochat2", f"rows-{VIDEO}-0", CHOSEN),
        (STAR, "plain-id", "I1", CHOSEN),
        (
            ASKED | {"choices": {"label": ["A", "B"], "text": ["red", "blue"]}, "answerKey": "B"},
            "plain",
            "rows-0",
            CHOSEN,
        ),
    ],
)
def test_rows_of_more_public_sets(
    root: Path, row: dict[str, Any], recipe: str, sample_id: str, expected: tuple[object, ...]
) -> None:
    found, chosen = read(root, [row])
    assert [failure.message for failure in found.failures] == []
    ((_, made),) = found.questions
    assert (chosen, made.sample_id, made.video, made.question) == (recipe, sample_id, VIDEO, "Who?")
    assert (made.problem_type, made.options, made.answer) == expected


def test_lists_on_one_video_give_their_questions_different_ids(root: Path) -> None:
    """Regression: VideoChat2-IT has several lists on a video; those after the first were duplicates."""
    (root / "v" / "y.mp4").touch()
    several = [{"q": "Who?", "a": "a man"}, {"q": "Where?", "a": "at home"}]
    found, chosen = read(
        root,
        [
            {"video": VIDEO, "QA": several},
            {"video": "v/y.mp4", "QA": several[:1]},
            {"video": VIDEO, "QA": several[:1]},
            {"video": VIDEO, "QA": 5},
            {"video": VIDEO, "QA": [{"q": "And?", "a": ""}, several[1]]},
        ],
    )
    assert chosen == "videochat2"
    assert [made.sample_id for _, made in found.questions] == [
        f"rows-{video}-{number}"
        for video, number in ((VIDEO, 0), (VIDEO, 1), ("v/y.mp4", 0), (VIDEO, 2), (VIDEO, 4))
    ]
    assert [failure.sample_id for failure in found.failures] == ["", f"rows-{VIDEO}-3"]


@pytest.mark.parametrize("name", ["{@row}", "{@file}-{@row}", "{video}-{@row}", "{q}{@row}"])
def test_ids_of_a_recipe_of_lists_are_different(root: Path, tmp_path: Path, name: str) -> None:
    """Where a field of the row makes them so, the number stays that in its list."""
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'title = "Mine"\nrows = "[]/asked"\n[fields]\nid = "{name}"\nvideo = "video"\nquestion = "q"\n'
        'answer = "a"\n[problem_type]\notherwise = "free-form"\n'
    )
    rows = [
        {"video": VIDEO, "asked": [{"q": "Who?", "a": "a man"}, {"q": "Where?", "a": "at home"}]},
        {"video": VIDEO, "asked": [{"q": "And?", "a": "a dog"}]},
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    found = read_annotations([path], root, recipe=str(recipe))
    last = name.replace("{@file}", "rows").replace("{video}", VIDEO).replace("{q}", "And?")
    assert not found.failures
    assert found.questions[2][1].sample_id == last.replace("{@row}", "0" if "{q}" in name else "2")


def test_rows_in_a_list_of_each_row_are_named_with_the_line_that_reads_them(root: Path) -> None:
    with pytest.raises(UsageError, match=r"'questions' is a list of rows.*rows = \"\[\]/questions\""):
        read(root, [{"video_filename": VIDEO, "questions": [{"question": "Who?", "answer": "a man"}]}] * 2)


def test_a_formula_is_a_number_and_one_image_in_a_list_an_image(root: Path) -> None:
    (root / IMAGE).touch()
    rows = [
        VIRL | {"image": [IMAGE], "answer": answer} for answer in ("\\boxed{3}", "$$-\\dfrac{3}{2}$$", "red")
    ]
    found, _ = read(root, [row | {"qid": at, "problem_type": "math"} for at, row in enumerate(rows)])
    assert [(one.video, one.question, one.problem_type, one.answer) for _, one in found.questions] == [
        (IMAGE, "Who?", "numerical", "3"),
        (IMAGE, "Who?", "numerical", "$$-\\dfrac{3}{2}$$"),
        (IMAGE, "Who?", "free-form", "red"),
    ]


@pytest.mark.parametrize(
    ("asked", "question"),
    [
        ("In <video>, who is it?", "In the video, who is it?"),
        ("Look at <video> and say who.", "Look at the video and say who."),
        ("Watch the video <video> and say who.", "Watch the video  and say who."),
        ("Frame 1: <video> Who?", "Frame 1:  Who?"),
        ("Who? <video>", "Who?"),
    ],
)
def test_a_place_holder_within_a_sentence_is_a_word_of_it(root: Path, asked: str, question: str) -> None:
    """Regression: it was cut out: "In , who is it?"."""
    found, _ = read(root, [{"messages": messages(asked, "a man"), "videos": [VIDEO]}])
    assert found.questions[0][1].question == question
    (reading,) = found.readings.values()
    assert (reading.guesses != ()) == ("the video" in question and "Watch" not in question)
