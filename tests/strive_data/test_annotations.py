"""Whole annotation files: both layouts, one failure a bad row, and files that are none."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from strive_data.annotations import read_annotations
from strive_data.errors import UsageError


def row(problem_id, **changes):
    return {
        "problem_id": problem_id,
        "problem": "How many?",
        "problem_type": "numerical",
        "solution": "<answer>2</answer>",
        "path": "x.mp4",
    } | changes


@pytest.fixture
def root(tmp_path):
    (tmp_path / "x.mp4").touch()
    return tmp_path


def written(root, body, name="rows.jsonl"):
    path = root / name
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


def lines(*rows):
    return "\n".join(json.dumps(each) for each in rows)


def test_list_and_lines_read_the_same(root):
    rows = [row(1), row(2, problem=""), row(3)]
    as_list = read_annotations([written(root, json.dumps(rows, indent=1), "rows.json")], root)
    as_lines = read_annotations([written(root, lines(*rows))], root)
    assert as_list.questions == as_lines.questions
    assert [index for index, _ in as_list.questions] == [0, 2]
    assert [question.sample_id for _, question in as_list.questions] == ["1", "3"]
    assert as_list.failures[0].message == "rows.json item 1: problem is empty"
    assert as_lines.failures[0].message == "rows.jsonl line 2: problem is empty"
    assert (as_lines.failures[0].sample_id, as_lines.failures[0].row) == ("2", 1)


def test_broken_lines_cost_one_row_each(root):
    body = b"\n".join(
        [
            lines(row(1)).encode(),
            b'{"problem_id": 2, "pro',
            b"",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b"5",
            b"9" * 5000,
        ]
    )
    rows = read_annotations([written(root, body + b"\r\n" + lines(row(3)).encode() + b"\n")], root)
    assert [index for index, _ in rows.questions] == [0, 6]
    assert [failure.row for failure in rows.failures] == [1, 2, 3, 4, 5]
    assert {failure.kind for failure in rows.failures} == {"bad_row"}
    messages = [failure.message for failure in rows.failures]
    assert messages[0].startswith("rows.jsonl line 2: broken JSON: ")
    assert messages[1] == "rows.jsonl line 4: not UTF-8 at byte 0"
    assert messages[3] == "rows.jsonl line 6: the row is a number, expected a JSON object"


def test_byte_order_mark_line_separators_and_other_scripts(root):
    body = "\ufeff\n" + json.dumps(row(1, problem="Сколько\u2028猫?"), ensure_ascii=False)
    rows = read_annotations([written(root, body)], root)
    assert rows.questions[0][1].question == "Сколько\u2028猫?"


def test_nan_costs_its_row_and_not_the_list(root):
    body = json.dumps([row(1), row(2, evidence_spans=[[0, float("nan")]])])
    rows = read_annotations([written(root, body, "rows.json")], root)
    assert (len(rows.questions), [failure.sample_id for failure in rows.failures]) == (1, ["2"])


def test_first_row_of_an_id_counts_across_files_even_if_it_is_bad(root):
    first = written(root, lines(row(1), row(2, problem="")), "first.jsonl")
    second = written(root, lines(row("1", problem="Other?"), row(2), row(3)), "second.jsonl")
    rows = read_annotations([first, second], root)
    assert [(index, question.question) for index, question in rows.questions] == [
        (0, "How many?"),
        (4, "How many?"),
    ]
    assert [(f.row, f.sample_id, f.kind) for f in rows.failures] == [
        (1, "2", "bad_row"),
        (2, "1", "duplicate_id"),
        (3, "2", "duplicate_id"),
    ]
    assert (
        rows.failures[1].message == "second.jsonl line 1: problem_id 1 stands at first.jsonl line 1 already"
    )


def test_inputs_are_hashed_as_they_lie(root):
    body = b"\xef\xbb\xbf" + lines(row(1)).encode()
    path = written(root, body)
    assert read_annotations([path], root).input_sha256 == {path.as_posix(): sha256(body).hexdigest()}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"[]", "the list is empty"),
        (b'[{"problem_id": 1}', "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b"\x00\x01\xff" * 99, "no line is a JSON object"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no line is a JSON object"),
        (b"hello\nworld\n", "no line is a JSON object"),
        (b'{\n "rows": [\n  {"problem_id": 1}\n ]\n}', "one JSON object that is no question"),
        (b'{"rows": [{"problem_id": 1}]}', "one JSON object that is no question"),
    ],
)
def test_files_that_are_no_annotation(root, body, message):
    path = written(root, body, "odd.json")
    with pytest.raises(UsageError) as caught:
        read_annotations([path], root)
    text = str(caught.value)
    assert message in text
    assert str(path) in text
    assert "expected a JSON list or JSON lines" in text
    assert "\n" not in text


@pytest.mark.parametrize(("name", "message"), [("none.json", "No such file"), (".", "Is a directory")])
def test_unreadable_files(root, name, message):
    with pytest.raises(UsageError, match=message):
        read_annotations([root / name], root)


def test_no_files(root):
    with pytest.raises(UsageError, match="no annotation given"):
        read_annotations([], root)


def test_real_questions(shared_data):
    rows = read_annotations([shared_data / "questions.jsonl"], shared_data)
    assert (len(rows.questions), rows.failures) == (26, ())
    assert rows.questions[0][1].evidence_spans == ((2.4, 3.0),)


def test_real_questions_with_bad_rows(shared_data):
    paths = [shared_data / "questions.jsonl", shared_data / "bad_rows.jsonl"]
    rows = read_annotations(paths, shared_data)
    # The unreadable video is the decoder's to find.
    assert [question.sample_id for _, question in rows.questions[26:]] == ["902"]
    assert [(failure.row, failure.sample_id, str(failure.kind)) for failure in rows.failures] == [
        (26, "901", "missing"),
        (28, "903", "bad_row"),
        (29, "", "bad_row"),
        (30, "905", "bad_row"),
        (31, "906", "bad_row"),
        (32, "1", "duplicate_id"),
        (33, "908", "outside_root"),
    ]


@pytest.mark.parametrize(
    ("name", "count"), [("vsibench", 5130), ("mmvu-mc", 625), ("videomme", 2700), ("videommmu", 900)]
)
def test_published_files_fail_for_nothing_but_their_videos(shared_data, name, count):
    path = shared_data / "benchmarks" / "video_r1_layout" / f"{name}.json"
    rows = read_annotations([path], shared_data)
    assert len(rows.failures) == count
    assert {str(failure.kind) for failure in rows.failures} == {"missing"}
