"""Each way in which a row can be wrong, one at a time, against a good row that differs in that alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.annotations.question import question_of, sample_id_of, video_of
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Question
from tests.strive_data.annotations.made_rows import ANYTHING

GOOD = {
    "problem_id": 7,
    "problem": " Which fruit? ",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["A. apple", "B. pear"],
    "solution": "<answer>B</answer>",
    "path": "./videos/x.mp4",
    "data_source": "made up",
    "evidence_spans": [[1, 2.5]],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with videos/x.mp4 and a link to itself."""
    root = tmp_path_factory.mktemp("root")
    (root / "videos").mkdir()
    (root / "videos" / "x.mp4").touch()
    (root / "loop").symlink_to(root / "loop")
    return root


def refused(row, root):
    with pytest.raises(SampleError) as caught:
        question_of(row, VideoFolder(root))
    return caught.value


def test_good_row(root):
    assert question_of(GOOD, VideoFolder(root)) == Question(
        sample_id="7",
        video="videos/x.mp4",
        question="Which fruit?",
        answer="B",
        problem_type="multiple choice",
        options=("A. apple", "B. pear"),
        source="made up",
        evidence_spans=((1.0, 2.5),),
    )


def test_optional_fields_may_be_absent_or_null(root):
    names = {"data_type", "data_source", "evidence_spans"}
    short = {name: value for name, value in GOOD.items() if name not in names}
    assert question_of(short, VideoFolder(root)).source == ""
    null = GOOD | {"data_source": None, "evidence_spans": None, "problem_type": "free-form", "options": None}
    assert question_of(null, VideoFolder(root)).evidence_spans == ()


@pytest.mark.parametrize("form", ["A) {}", "(A) {}", "A: {}", "A. {}", " A.{} "])
def test_options_come_out_in_one_form(root, form):
    row = GOOD | {"options": [form.format("apple"), "B. pear"]}
    assert question_of(row, VideoFolder(root)).options == ("A. apple", "B. pear")


def test_options_may_be_letters_shown_in_the_video(root):
    assert question_of(GOOD | {"options": ["A. ", "B."]}, VideoFolder(root)).options == ("A.", "B.")


@pytest.mark.parametrize("solution", ["B", "(B)", "B.", " <answer> B </answer> ", "<answer>B.</answer>"])
def test_answer_comes_out_as_the_letter(root, solution):
    assert question_of(GOOD | {"solution": solution}, VideoFolder(root)).answer == "B"


@pytest.mark.parametrize(
    ("problem_type", "solution", "answer"),
    [
        ("numerical", "<answer>1,000.5</answer>", "1,000.5"),
        ("regression", "-3/4", "-3/4"),
        ("OCR", "<answer> energy is </answer>", "energy is"),
        ("free-form", "<answer>It stands\nup.</answer>", "It stands\nup."),
    ],
)
def test_answers_of_other_types(root, problem_type, solution, answer):
    row = GOOD | {"problem_type": problem_type, "solution": solution, "options": []}
    assert question_of(row, VideoFolder(root)).answer == answer


@pytest.mark.parametrize("path", ["videos/x.mp4", "./videos//x.mp4", "videos/../videos/x.mp4"])
def test_paths_are_normalised(root, path):
    assert question_of(GOOD | {"path": path}, VideoFolder(root)).video == "videos/x.mp4"


@pytest.mark.parametrize("path", ["videos/y.mp4", "videos", ".", "loop", "videos/x.mp4/y", "n" * 5000])
def test_missing_videos(root, path):
    error = refused(GOOD | {"path": path}, root)
    assert error.kind is FailureKind.MISSING
    assert len(error.message) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": ""}, "problem is empty"),
        ({"problem": " \n"}, "problem is empty"),
        ({"problem": None}, "problem is missing"),
        ({"problem": ["x"]}, "problem: got ['x'], expected a text"),
        ({"problem": "half \ud800"}, "lone surrogate"),
        ({"problem_type": "riddle"}, "unknown problem_type 'riddle'; known"),
        ({"problem_type": "multiple-choice"}, "did you mean 'multiple choice'"),
        ({"problem_type": 3}, "problem_type: got 3"),
        ({"data_type": "image"}, "data_type: got 'image', but './videos/x.mp4' names a video"),
        ({"data_type": "video", "path": "x.JPG"}, "data_type: got 'video', but 'x.JPG' names an image"),
        ({"data_type": None}, "data_type: got None, expected video or image"),
        ({"problem_id": None}, "problem_id: got None"),
        ({"problem_id": True}, "problem_id: got True"),
        ({"problem_id": 1.5}, "problem_id: got 1.5"),
        ({"problem_id": ""}, "problem_id"),
        ({"problem_id": "a\nb"}, "problem_id"),
        ({"options": []}, "options: got [], expected two or more"),
        ({"options": None}, "options: got []"),
        ({"options": ["A. apple"]}, "two or more"),
        ({"options": ["apple", "pear"]}, "of the form 'A. text'"),
        ({"options": ["A. apple", "A. pear"]}, "each letter once"),
        ({"options": "A. apple"}, "expected a list of texts"),
        ({"options": ["A. apple", 2]}, "expected a list of texts"),
        ({"options": {"A": "apple"}}, "expected a list of texts"),
        ({"options": ["A. apple\0", "B. pear"]}, "NUL"),
        ({"solution": None}, "solution is missing"),
        ({"solution": "<answer> </answer>"}, "the answer is empty"),
        ({"solution": "<answer>B"}, "expected one <answer>"),
        ({"solution": "<answer>A</answer><answer>B</answer>"}, "expected one <answer>"),
        ({"solution": "<answer>D</answer>"}, "got 'D', not among the options A, B"),
        ({"solution": "pear"}, "not among the options"),
        ({"solution": 4}, "solution: got '4', not among the options A, B"),
        ({"problem_type": "numerical", "solution": "two"}, "got 'two', expected a finite number"),
        ({"problem_type": "numerical", "solution": "<answer>nan</answer>"}, "there is no value"),
        ({"problem_type": "free-form", "solution": "None"}, "there is no value"),
        ({"problem_type": "regression", "solution": "1e9999"}, "finite number"),
        ({"problem_type": "regression", "solution": "1/0"}, "finite number"),
        ({"problem_type": "free-form", "solution": "?!"}, "expected some words"),
        ({"evidence_spans": [1, 2]}, "evidence_spans: got [1, 2], expected a list of spans [start, end]"),
        ({"options": ["red/blue"]}, "with | between them: red | blue"),
        ({"evidence_spans": "1-2"}, "expected a list of spans [start, end]"),
        ({"evidence_spans": [[2, 1]]}, "0 <= start <= end"),
        ({"evidence_spans": [[-1, 1]]}, "0 <= start <= end"),
        ({"evidence_spans": [[0, math.nan]]}, "0 <= start <= end"),
        ({"evidence_spans": [[0, math.inf]]}, "0 <= start <= end"),
        ({"evidence_spans": [[0, 10**400]]}, "0 <= start <= end"),
        ({"evidence_spans": [[False, True]]}, "0 <= start <= end"),
        ({"evidence_spans": [["0", "1"]]}, "0 <= start <= end"),
        ({"evidence_spans": [[0, 1, 2]]}, "0 <= start <= end"),
        ({"data_source": 5}, "data_source: got 5"),
        ({"path": None}, "path is missing"),
        ({"path": 5}, "path: got 5"),
        ({"path": "x\0.mp4"}, "NUL"),
    ],
)
def test_bad_rows(root, change, message):
    error = refused(GOOD | change, root)
    assert error.kind is FailureKind.BAD_ROW
    assert message in error.message
    error.message.encode("utf-8")


@pytest.mark.parametrize(
    ("row", "kind"),
    [([1], "a list"), ("x", "a text"), (None, "null"), (3, "a number"), (True, "a truth value")],
)
def test_rows_that_are_no_objects(root, row, kind):
    assert f"the row is {kind}" in refused(row, root).message


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), ("v-1", "v-1"), (True, ""), (1.0, ""), ("a\ud800", "")]
)
def test_ids(value, text):
    assert sample_id_of({"problem_id": value}) == text


def test_nothing_is_known_of_a_row_that_is_no_object():
    assert sample_id_of("x") == video_of(["x"]) == video_of({"path": "\ud800"}) == ""


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), ANYTHING, max_size=2))
def test_any_value_in_any_field_gives_a_question_or_one_failure(root, change):
    try:
        question = question_of(GOOD | change, VideoFolder(root))
    except SampleError as error:
        shown = error.message.encode("utf-8")
    else:
        shown = question.video.encode()
        assert question.video == "videos/x.mp4"
    assert b"\n" not in shown
