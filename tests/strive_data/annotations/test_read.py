from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.annotations.read import Reading, read_annotations, read_inputs, video_root
from strive_data.errors import FailureKind, UsageError
from tests.strive_data.annotations.made_rows import lines, recipes, types, written
from tests.strive_data.made.engine import write_annotation


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


def test_list_and_lines_read_the_same(root):
    rows = [row(1), row(2, problem=""), row(3)]
    as_list = read_annotations([written(root, json.dumps(rows, indent=1), "rows.json")], root)
    as_lines = read_annotations([written(root, lines(*rows))], root)
    assert as_list.questions == as_lines.questions
    assert [index for index, _ in as_list.questions] == [0, 2]
    assert [question.sample_id for _, question in as_list.questions] == ["1", "3"]
    assert as_list.failures[0].message == "rows.json item 2: problem is empty"
    assert as_lines.failures[0].message == "rows.jsonl line 2: problem is empty"
    assert (as_lines.failures[0].sample_id, as_lines.failures[0].row) == ("2", 1)


def test_broken_lines_cost_one_row_each(root):
    broken = [b'{"problem_id": 2, "pro', b"", b"\xff\xfe\x00", b"[" * 100_000, b"5", b"9" * 5000]
    body = b"\n".join([lines(row(1)).encode(), *broken])
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
    assert [(i, question.question) for i, question in rows.questions] == [(0, "How many?"), (4, "How many?")]
    assert [(f.row, f.sample_id, f.kind) for f in rows.failures] == [
        (1, "2", "bad_row"),
        (2, "1", "duplicate_id"),
        (3, "2", "duplicate_id"),
    ]
    used = "second.jsonl line 1: problem_id 1 is used already, at first.jsonl line 1"
    assert rows.failures[1].message == used


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
        (b'{\n "rows": [\n  {"problem_id": 1}\n ]\n}', "no recipe fits its columns problem_id"),
        (b'{"rows": [{"problem_id": 1}]}', "no recipe fits its columns problem_id"),
    ],
)
def test_files_that_are_no_annotation(root, body, message):
    path = written(root, body, "odd.json")
    with pytest.raises(UsageError) as caught:
        read_annotations([path], root)
    text = str(caught.value)
    assert message in text
    assert str(path) in text
    assert "expected a JSON list, JSON lines, a CSV" in text
    assert "\n" not in text


@pytest.mark.parametrize(("name", "message"), [("none.json", "No such file"), (".", "Is a directory")])
def test_unreadable_files(root, name, message):
    with pytest.raises(UsageError, match=message):
        read_annotations([root / name], root)


def test_no_files(root):
    with pytest.raises(UsageError, match="no annotation given"):
        read_annotations([], root)


def test_a_table_of_ones_own_needs_no_recipe(root):
    table = written(
        root, "video,question,answer\nx.mp4,Which?,blue\nx.mp4,,red\nx.mp4,How many?,4\n", "my.csv"
    )
    pl.read_csv(table).with_row_index("id").write_parquet(root / "my.parquet")
    rows = read_annotations([table, root / "my.parquet"], root)
    assert [(row, q.sample_id, q.question, q.answer) for row, q in rows.questions] == [
        (0, "my-0", "Which?", "blue"),
        (2, "my-2", "How many?", "4"),
        (3, "0", "Which?", "blue"),
        (5, "2", "How many?", "4"),
    ]
    assert types(rows) == {"free-form": 2, "numerical": 2}
    assert [failure.message for failure in rows.failures] == [
        "my.csv line 3: question is missing",
        "my.parquet row 2: question is missing",
    ]
    assert (rows.failures[0].sample_id, rows.failures[0].video) == ("my-1", "x.mp4")
    assert recipes(rows) == ["plain", "plain-id"]


def test_the_video_r1_layout_reads_the_same_in_every_format(root):
    rows = [
        row(1, problem_type="multiple choice", options=["A. a", "B. b"], solution="<answer>B</answer>"),
        row(2, solution="a few"),
        row(3, options=None, evidence_spans=[[0.5, 2.0]]),
        row(3),
    ]
    cells = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in each.items()} for each in rows]
    pl.DataFrame(cells).write_csv(root / "rows.csv")
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(root / "rows.parquet")
    paths = [written(root, json.dumps(rows), "rows.json"), written(root, lines(*rows))]
    paths += [root / "rows.csv", root / "rows.parquet"]
    results = [read_annotations([path], root) for path in paths]
    assert results[0].questions[1][1].evidence_spans == ((0.5, 2.0),)
    for result in results:
        assert result.questions == results[0].questions
        assert [(f.row, f.sample_id, f.kind) for f in result.failures] == [
            (1, "2", "bad_row"),
            (3, "3", "duplicate_id"),
        ]
    assert results[2].failures[0].message.startswith("rows.csv line 3: solution: got 'a few'")


def test_columns_that_are_not_read_are_named(root):
    path = written(root, "video,question,answer,choices,colour\nx.mp4,Which?,blue,a|b,red\n", "my.csv")
    assert read_annotations([path], root).readings == {
        path.as_posix(): Reading(
            recipe="plain",
            unread=("colour",),
            guesses=("columns options=choices",),
            types={"multiple choice": 1},
        )
    }


def test_any_column_name_can_be_printed(root):
    path = written(root, json.dumps([row(1, **{"\ud800": 1, "a\nb": 2, "ok": 3})]), "odd.json")
    assert list(read_annotations([path], root).readings.values()) == [
        Reading(recipe="video-r1", unread=("'a\\nb'", "ok", "'\\ud800'"))
    ]
    path = written(root, json.dumps([{f"{i:02d}\n": 1 for i in range(22)}]), "odd.json")
    with pytest.raises(UsageError, match=r"its columns '00\\n', .*'19\\n' and 2 more; expected") as caught:
        read_annotations([path], root)
    assert len(str(caught.value).splitlines()) == 1


def test_files_of_one_name_are_named_with_their_folders(root):
    rows = "video,question,answer\nnone.mp4,Which?,blue\n"
    paths = [root / folder / "q.csv" for folder in ("a/x", "b/x")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text(rows)
    found = read_annotations(paths, root)
    first, second = (failure.message for failure in found.failures)
    assert first.startswith("a/x/q.csv line 2: video 'none.mp4'")
    assert second.startswith("b/x/q.csv line 2: id q-0 is used already, at a/x/q.csv line 2; ids are made of")


def test_columns_that_no_recipe_knows(root):
    path = written(root, "film,ask,reply\nx.mp4,Which?,blue\n", "my.csv")
    with pytest.raises(UsageError, match=r"video and the answer: .* ask, film, reply; .*--recipe FILE.toml"):
        read_annotations([path], root)
    recipe = root / "mine.toml"
    recipe.write_text(
        "title = 'Mine'\n[fields]\nid = '{@row}'\nvideo = 'film'\nquestion = 'ask'\nanswer = 'reply'\n"
        "[problem_type]\notherwise = 'free-form'\n"
    )
    rows = read_annotations([path], root, recipe=str(recipe))
    assert rows.questions[0][1].answer == "blue"
    assert rows.readings == {path.as_posix(): Reading(recipe=str(recipe), unread=())}
    assert rows.input_sha256[str(recipe)] == sha256(recipe.read_bytes()).hexdigest()


def test_a_forced_recipe_is_used_whatever_the_columns_say(root):
    path = written(root, lines(row(1), row(2)))
    rows = read_annotations([path], root, recipe="plain")
    assert [failure.message for failure in rows.failures] == [
        "rows.jsonl line 1: answer is missing",
        "rows.jsonl line 2: answer is missing",
    ]
    with pytest.raises(UsageError, match=r"got a list or a table, expected one JSON object"):
        read_annotations([path], root, recipe="tempcompass")
    with pytest.raises(UsageError, match="did you mean 'plain'"):
        read_annotations([path], root, recipe="plan")


def test_one_wrong_branch_costs_no_other(root):
    tree = {"1": {"speed": [{"question": "Fast?", "answer": "yes"}, 5]}, "2": {"speed": None}, "3": []}
    rows = read_annotations([written(root, json.dumps(tree), "yes_no.json")], root, check_files=False)
    assert [question.sample_id for _, question in rows.questions] == ["yes_no-1-speed-0"]
    assert [(failure.row, failure.message) for failure in rows.failures] == [
        (1, "yes_no.json 1/speed item 2: the row is a number, expected a JSON object"),
        (2, "yes_no.json 2/speed: expected a list of rows"),
        (3, "yes_no.json 3: expected an object"),
    ]


def test_perception_test_as_its_own_files(root):
    questions = [
        {"id": i, "question": "Which?", "options": ["x", "y", "z"], "answer_id": i, "area": "Memory"}
        | {"reasoning": "Descriptive", "tag": ["motion"]}
        for i in range(3)
    ]
    tree = {
        "video_1": {"metadata": {"split": "valid"}, "mc_question": questions},
        "video_2": {"metadata": {}},
    }
    rows = read_annotations([written(root, json.dumps(tree, indent=1), "mc.json")], root, check_files=False)
    assert recipes(rows) == ["perceptiontest-files"]
    assert [(q.sample_id, q.video, q.answer) for _, q in rows.questions] == [
        (f"video_1-{i}", "videos/video_1.mp4", letter) for i, letter in enumerate("ABC")
    ]
    assert [failure.message for failure in rows.failures] == ["mc.json video_2: mc_question is missing"]


GOOD_CELLS = ["x.mp4", "Which, when?", "blue"]


@settings(max_examples=50)
@given(st.text(st.characters(exclude_characters="\n\r", codec=None), max_size=30), st.integers(0, 4))
def test_whatever_stands_in_one_line_the_others_are_read(tmp_path_factory, garbage, place):
    folder = tmp_path_factory.mktemp("garbage")
    good = dict(zip(("video", "question", "answer"), GOOD_CELLS, strict=True))
    json_lines = [json.dumps(good)] * 5
    json_lines[place] = garbage
    # No quotes in the good lines: a quote left open can end in a later line's quote, in any reader.
    csv_lines = ["x.mp4,Which when?,blue"] * 5
    csv_lines[place] = garbage
    body = "\n".join(json_lines).encode("utf-8", "surrogatepass")
    table = "\n".join(["video,question,answer", *csv_lines]).encode("utf-8", "surrogatepass")
    for path in (written(folder, body), written(folder, table, "rows.csv")):
        rows = read_annotations([path], folder, check_files=False)
        assert [q.answer for _, q in rows.questions if q.video == "x.mp4"][:4] == ["blue"] * 4
        assert len(rows.questions) + len(rows.failures) in (4, 5)  # blank lines are no rows


URL = "memory://bucket/in/rows.jsonl"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_an_annotation_behind_a_url_is_read_as_the_file_is(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    local = write_annotation(tmp_path / "in", "aab")
    memory.pipe_file("/bucket/in/rows.jsonl", local.read_bytes() + b"not JSON\n")
    local.write_bytes(memory.cat_file("/bucket/in/rows.jsonl"))
    ours, theirs = read_inputs([URL], tmp_path / "in"), read_annotations([local], tmp_path / "in")
    assert (ours.questions, ours.failures) == (theirs.questions, theirs.failures)
    assert ours.input_sha256 == {URL: theirs.input_sha256[local.as_posix()]}
    assert list(ours.readings) == [URL]


def test_one_annotation_named_twice_is_read_twice(tmp_path: Path) -> None:
    local = write_annotation(tmp_path / "in", "aa")
    rows = read_inputs([local, local], tmp_path / "in")
    assert [failure.kind for failure in rows.failures] == [FailureKind.DUPLICATE_ID] * 2


def test_errors_name_the_url(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"annotation {URL}: no such file"):
        read_inputs([URL], tmp_path)
    memory.pipe_file("/bucket/in/rows.jsonl", b" ")
    with pytest.raises(UsageError, match=f"annotation {URL} is empty"):
        read_inputs([URL], tmp_path)


@pytest.mark.parametrize(
    "video", ["../x.mp4", "/x.mp4", "https://host/x.mp4", "s3://other/x.mp4", "..\\b.mp4"]
)
def test_a_row_leads_nowhere_but_below_a_root_behind_a_url(tmp_path: Path, video: str) -> None:
    annotation = tmp_path / "rows.csv"
    annotation.write_text(f"video,question,answer\nok.mp4,Q?,A\n{video},Q?,A\n")
    rows = read_inputs([annotation], "s3://bucket/videos")
    assert [question.video for _, question in rows.questions] == ["ok.mp4"]
    assert [failure.kind for failure in rows.failures] == [FailureKind.OUTSIDE_ROOT]


def test_a_root_that_is_not_there_or_seen_by_this_process_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        video_root(tmp_path / "none")
    with pytest.raises(UsageError, match="other processes read the videos"):
        video_root("memory://bucket")
    with pytest.raises(UsageError, match="pipe: runs a command"):
        video_root("pipe:ls")
    assert video_root(f"file://{tmp_path}") == tmp_path
    assert video_root("https://host/videos/") == "https://host/videos"


def test_a_table_of_broken_rows_alone_says_what_each_needs(tmp_path):
    """Regression: "question is empty in every row"."""
    table = tmp_path / "q.csv"
    table.write_text(
        "video,question,answer,options\nv.mp4,Who, then?,A,x | y\nv.mp4,Who,me\nv.mp4,Who?,me,,,\n"
    )
    rows = read_annotations([table], tmp_path, check_files=False)
    assert [row for row, _ in rows.questions] == [2]  # empty cells behind the last one hold nothing
    table.write_text("video,question,answer\nv.mp4,Who, then?,me\nv.mp4,me\n")
    rows = read_annotations([table], tmp_path, check_files=False)
    assert [failure.kind for failure in rows.failures] == ["bad_row", "bad_row"]
    for failure, said in zip(
        rows.failures, ("line 2: broken CSV: got 4", "line 3: broken CSV: got 2"), strict=True
    ):
        assert f"q.csv {said} cells, expected 3" in failure.message
        assert "double quotes around a cell that holds a comma" in failure.message
