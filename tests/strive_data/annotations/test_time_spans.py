"""Spans of time as models and data sets write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.numbers import find_spans, read_spans, spans_text
from strive_data.annotations.read import read_annotations

ONE = ((12.3, 15.8),)


@pytest.mark.parametrize(
    "text",
    [
        "12.3 to 15.8",
        "<12.3> - <15.8>",
        "[12.3, 15.8]",
        "(12.3, 15.8)",
        "12.3-15.8",
        "12.3 – 15.8 s",
        "12.3s to 15.8s",
        "12.3 seconds to 15.8 seconds",
        "between 12.3 and 15.8 seconds",
        "From <12.3s> until <15.8s>.",
        "00:12.3 - 00:15.8",
        "0:00:12.3 to 0:00:15.8",
        '{"time": [12.3, 15.8]}',
        "12.3, 15.8",
        "12.3 15.8",
        "It happens from 12.3 to 15.8, as the man sits down.",
    ],
)
def test_one_span(text: str) -> None:
    assert find_spans(text) == ONE


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("00:12 - 00:15", ((12, 15),)),
        ("1:02:03 to 1:02:05", ((3723, 3725),)),
        ("1 to 2; 4 to 5.5", ((1, 2), (4, 5.5))),
        ("[[1, 2], [4, 5.5]]", ((1, 2), (4, 5.5))),
        ("1-2, 4-5", ((1, 2), (4, 5))),
        ("0 to 0", ((0, 0),)),
    ],
)
def test_several_spans_and_clock_times(text: str, spans: tuple[tuple[float, float], ...]) -> None:
    assert find_spans(text) == spans


@pytest.mark.parametrize(
    "text",
    ["", "12.3", "no time", "15 to 12", "-5 to 3", "1 to 2 minutes", "frames v1 to v2", "10% to 20%",
     "1 to 2 min", "nan to inf", "12 of 15", "1 to 2 frames", "1:2:3:4 to 5"],
)  # fmt: skip
def test_no_span(text: str) -> None:
    assert find_spans(text) == ()


@pytest.mark.parametrize(
    "value",
    ["12.3 to 15.8", [12.3, 15.8], [[12.3, 15.8]], {"time": [12.3, 15.8]}, {"start": 12.3, "end": 15.8},
     '{"time": [12.3, 15.8]}'],
)  # fmt: skip
def test_values_of_data_sets(value: object) -> None:
    assert read_spans(value) == ONE


@pytest.mark.parametrize(
    "value",
    ["", "12", "12 to 12", "15 to 12", "1 to 2 and 3", [1], [2, 1], [1, 1], [[1, 2], [3]], [True, 2],
     ["1", "2"], [], {"time": None}, {}, None, 5, [float("nan"), 2], [0, float("inf")],
     "between 1 and 2 of the 3 men"],
)  # fmt: skip
def test_values_that_are_no_spans(value: object) -> None:
    assert read_spans(value) is None


times = st.floats(0, 9e6, allow_nan=False)


@given(st.lists(st.tuples(times, times).filter(lambda pair: pair[0] < pair[1]), min_size=1, max_size=5))
def test_the_text_of_spans_is_read_back_exactly(spans: list[tuple[float, float]]) -> None:
    assert read_spans(spans_text(spans)) == tuple(spans)


@given(st.text(alphabet="0123456789:.,-–<>[]() toandsec", max_size=200))
def test_any_text_gives_spans_in_order_of_time(text: str) -> None:
    assert all(0 <= start <= end for start, end in find_spans(text))


CHARADES = "AO8RW 0.0 6.9##a person is putting a book on a shelf.\nAO8RW 4.2 4.1##they sit.\nbroken\n"
ACTIVITYNET = {
    "v_a": {
        "duration": 82.7,
        "timestamps": [[0.83, 19.86], [17, 60.81]],
        "sentences": ["A man sits.", " He stands."],
    },
    "v_b": {"duration": 5, "timestamps": [[0, 1]], "sentences": []},
}


def test_charades_sta(tmp_path: Path) -> None:
    (tmp_path / "AO8RW.mp4").touch()
    (tmp_path / "charades_sta_train.txt").write_text(CHARADES)
    found = read_annotations([tmp_path / "charades_sta_train.txt"], tmp_path)
    ((row, question),) = found.questions
    assert (row, question.sample_id, question.video) == (0, "charades_sta_train-0", "AO8RW.mp4")
    assert question.question == "When does this happen in the video: a person is putting a book on a shelf."
    assert (question.problem_type, question.answer) == ("temporal grounding", "0 to 6.9")
    assert question.evidence_spans == ((0.0, 6.9),)
    assert ["4.2 to 4.1" in found.failures[0].message, "##SENTENCE" in found.failures[1].message] == [
        True
    ] * 2


def test_activitynet_captions(tmp_path: Path) -> None:
    for name in ("v_a", "v_b"):
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "val_1.json").write_text(json.dumps(ACTIVITYNET))
    found = read_annotations([tmp_path / "val_1.json"], tmp_path)
    assert [(q.sample_id, q.answer, q.question[-10:]) for _, q in found.questions] == [
        ("v_a-0", "0.83 to 19.86", "man sits."[-10:].rjust(10)),
        ("v_a-1", "17 to 60.81", "He stands."),
    ]
    assert "lists of one length" in found.failures[0].message


@pytest.mark.parametrize(
    "answer", ['{"time": [1.5, 4]}', "<answer>1.5 to 4</answer>", [1.5, 4.0], [[1.5, 4.0]]]
)
def test_grounding_in_a_table_of_ones_own_and_in_easyr1(tmp_path: Path, answer: object) -> None:
    (tmp_path / "x.mp4").touch()
    rows: list[dict[str, object]] = [
        {"video": "x.mp4", "question": "When?", "answer": answer, "problem_type": "temporal grounding"},
        {
            "videos": ["x.mp4"],
            "problem": "<video>When?",
            "answer": answer,
            "problem_type": "temporal grounding",
        },
    ]
    if isinstance(answer, str) and answer.startswith("<"):
        del rows[0]
    for row in rows:
        (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
        found = read_annotations([tmp_path / "t.jsonl"], tmp_path)
        assert not found.failures
        assert found.questions[0][1].answer == "1.5 to 4"


def test_an_image_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    row = {"video": "x.jpg", "question": "When?", "answer": "1 to 2", "problem_type": "temporal grounding"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    (failure,) = read_annotations([tmp_path / "t.jsonl"], tmp_path).failures
    assert "'temporal grounding' for an image" in failure.message
