"""Tables as people have them: each is read without a recipe, and what was guessed is said."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from strive_data.annotations.read import Annotations, Reading, read_annotations
from strive_data.annotations.recipes import column_names
from strive_data.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "x.mp4").touch()
    return tmp_path


def read(root: Path, name: str, body: str | bytes, **options: object) -> tuple[Annotations, Reading]:
    file = root / name
    file.write_bytes(body if isinstance(body, bytes) else body.encode())
    rows = read_annotations([file], root, **options)  # type: ignore[arg-type]
    return rows, rows.readings[file.as_posix()]


ORDINARY = {
    "pandas' index column": ("r.csv", ",video,question,answer\n0,v/x.mp4,Who?,red\n", "column 1 has no name"),
    "other case": ("r.csv", "Video,Question,Answer\nv/x.mp4,Who?,red\n", "video=Video"),
    "other names": ("r.csv", "video_path,prompt,label\nv/x.mp4,Who?,red\n", "video=video_path"),
    "blanks in names": ("r.csv", "Video Path,problem,ground truth\nv/x.mp4,Who?,red\n", "video=Video Path"),
    "semicolons": ("r.csv", "video;question;answer\nv/x.mp4;Who, and why?;red\n", "separated by semicolon"),
    "tabs in a CSV": ("r.csv", "video\tquestion\tanswer\nv/x.mp4\tWho?\tred\n", "separated by tab"),
    "TSV": ("r.tsv", "video\tquestion\tanswer\nv/x.mp4\tWho?\tred\n", ""),
    "UTF-16": ("r.csv", "video,question,answer\nv/x.mp4,Wér?,red\n".encode("utf-16"), "UTF-16"),
    "Latin-1": ("r.csv", "video,question,answer\nv/x.mp4,Wér?,red\n".encode("latin-1"), "Latin-1"),
    "a line for Excel": ("r.csv", "sep=;\nvideo;question;answer\nv/x.mp4;Who?;red\n", "semicolon"),
    "CR alone": ("r.csv", 'video,question,answer\rv/x.mp4,"Who,\rand why?",red\r', "lines end in CR alone"),
    "CR in UTF-16": ("r.csv", "video,question,answer\rv/x.mp4,Wér?,red\r".encode("utf-16"), "CR alone"),
    "JSON lines": ("r.jsonl", '{"video": "v/x.mp4", "query": "Who?", "answer": 3}\n', "question=query"),
}


@pytest.mark.parametrize(
    ("header", "options"),
    [("image,question,answer", each) for each in ({}, {"video": "image"})]
    + [("Image Path,prompt,label", {})],
)
def test_a_table_of_images_alone(root: Path, header: str, options: dict[str, str]) -> None:
    (root / "v" / "x.png").touch()
    rows, _ = read(root, "r.csv", f"{header}\nv/x.png,Who?,red\nv/no.png,Who?,red\n", columns=options)
    assert [(row, question.video) for row, question in rows.questions] == [(0, "v/x.png")]
    assert [(failure.row, failure.kind) for failure in rows.failures] == [(1, "missing")]


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("r.json", b'{\n"data": [\n{"video": "v/x.mp4",}\n]\n}', "read as one object: .*line 3 column 21"),
        (
            "r.json",
            b'{"train": [{"video": 1}], "test": [{"video": 1}]}',
            "one JSON object with the keys test, train",
        ),
        ("r.csv", "video,question,answer\nv/x.mp4,Who?,red\n".encode("utf-16-le"), "byte order mark"),
        ("r.jsonl", b'{"video": "v/\xff\xc3\xbc.mp4"}', r"line 1: not UTF-8 at byte 13"),
        ("r.jsonl", b'{"video": "v/\x81.mp4"}', r"line 1: not UTF-8 at byte 13"),
        ("r.jsonl.gz", b"\x1f\x8b\x08" + bytes(20), "compressed by gzip"),
        ("r.xlsx", b"PK\x03\x04" + bytes(90), "save the table as CSV"),
    ],
)
def test_an_encoding_that_is_not_read_is_named(root: Path, name: str, body: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read(root, name, body)


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_tables_are_read_and_the_guess_is_said(root: Path, case: str) -> None:
    name, body, guess = ORDINARY[case]
    rows, reading = read(root, name, body)
    assert not rows.failures
    ((_, question),) = rows.questions
    assert question.video == "v/x.mp4"
    assert question.answer in ("red", "3")
    assert ("é" in question.question) == (case in ("UTF-16", "CR in UTF-16", "Latin-1"))
    assert guess in " ".join(reading.guesses)
    assert bool(guess) == bool(reading.guesses)


def test_a_decimal_of_parquet_is_a_number(root: Path) -> None:
    row = {"video": ["v/x.mp4"], "question": ["How many?"], "answer": [Decimal("2.50")]}
    pl.DataFrame(row).write_parquet(root / "r.parquet")
    ((_, made),) = read_annotations([root / "r.parquet"], root).questions
    assert (made.problem_type, made.answer) == ("numerical", "2.50")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("form", ["lines", "list", "long list"])
def test_json_in_other_encodings(root: Path, encoding: str, form: str) -> None:
    """U+2028 is no end of a line; characters and rows lie across the blocks in which a list is read."""
    words = "Où?" if encoding == "latin-1" else "Où?\u2028 是 𝄞"
    count = 3000 if form == "long list" else 3
    row = {"video": "v/x.mp4", "question": words, "answer": "é" * 350}
    lines = [json.dumps({**row, "id": number}, ensure_ascii=False) for number in range(count)]
    body = "\n".join(lines) if form == "lines" else f"[{', '.join(lines)}]"
    rows, reading = read(root, "r.json", body.encode(encoding))
    assert not rows.failures
    assert [question.sample_id for _, question in rows.questions] == [str(number) for number in range(count)]
    assert {question.question for _, question in rows.questions} == {words}
    guess = {"latin-1": "encoding Latin-1", "utf-8-sig": ""}.get(encoding, "encoding UTF-16")
    assert guess in " ".join(reading.guesses)
    assert bool(guess) == bool(reading.guesses)


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_half_a_character_of_utf16_costs_its_row_alone(root: Path, name: str) -> None:
    lines = ["video,question,answer"] if name == "r.csv" else []
    form = "{0},{1},red" if name == "r.csv" else '{{"video": "{0}", "question": "{1}", "answer": "red"}}'
    lines += [form.format("v/x.mp4", question) for question in ("Who", "\ud800 half", "Where")]
    body = "\n".join(lines).encode("utf-16", "surrogatepass")
    rows, _ = read(root, name, body + b"\n\0x")
    assert [question.question for _, question in rows.questions] == ["Who", "Where"]
    assert [failure.row for failure in rows.failures] == [1, 3]


@pytest.mark.parametrize(
    "options",
    [[["red"], "blue"], [{}, 3], "[\ud800", '["red", "\ud800"'],
    ids=["list", "mixed", "cell", "cut"],
)
def test_options_that_are_no_texts_cost_their_row_alone(root: Path, options: object) -> None:
    """Also where the question may hold options of its own."""
    row = {"video": "v/x.mp4", "question": "Which? (A) red (B) blue", "answer": "red"}
    rows, _ = read(root, "r.jsonl", "\n".join(map(json.dumps, [row | {"options": options}, row])))
    assert [question.answer for _, question in rows.questions] == ["A"]
    assert [(failure.row, "options" in failure.message) for failure in rows.failures] == [(0, True)]


OPTIONS = {
    "letters": "video,question,A,B,C,answer\nv/x.mp4,Who?,red,blue,,B\n",
    "names": "video,question,Option A,Option B,answer\nv/x.mp4,Who?,red,blue,b\n",
    "numbers": "clip,query,choice1,choice2,label\nv/x.mp4,Who?,red,blue,blue\n",
    "from 0": "video,question,a0,a1,a2,answer\nv/x.mp4,Who?,red,blue,,blue\n",
    "numpy's list": 'video,question,options,answer\nv/x.mp4,Who?,"[\'red\'\n ""blue""]",blue\n',
    "Python's list": "video,question,options,answer\nv/x.mp4,Who?,\"['red', 'blue']\",blue\n",
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_in_columns_of_their_own(root: Path, case: str) -> None:
    rows, reading = read(root, "r.csv", OPTIONS[case])
    ((_, question),) = rows.questions
    assert (question.problem_type, question.options) == ("multiple choice", ("A. red", "B. blue"))
    assert question.answer == "B"
    guess = {"Python's list": "", "numpy's list": "as numpy prints a list"}.get(case, "options=")
    assert guess in " ".join(reading.guesses)
    assert bool(guess) == bool(reading.guesses)
    assert reading.types == {"multiple choice": 1}


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("video,question,A,B,C,answer\nv/x.mp4,Who?,red,,blue,B\n", "B is empty, but C has an option"),
        ("video,question,options,answer\nv/x.mp4,Who?,red|blue,1\n", 'rules.answer = "index"'),
        ("video,question,options,answer\nv/x.mp4,Who?,['red' blue],red\n", "options: got"),
        ("video,question,options,answer\nv/x.mp4,Who?,\"['red', os]\",red\n", "options: got"),
    ],
)
def test_what_cannot_be_read_says_column_value_and_way_out(root: Path, body: str, mentions: str) -> None:
    rows, _ = read(root, "r.csv", body)
    assert not rows.questions
    assert mentions in rows.failures[0].message


@pytest.mark.parametrize(
    ("question", "answer", "kind", "said"),
    [
        ("How many balls?", "3", "numerical", ()),
        ("Tell me how many balls there are.", "1,200", "numerical", ()),
        ("How many balls?", "a few", "free-form", ()),
        ("How many balls?", "2 or 3", "free-form", ('1 free-form answer to "How many" is more',)),
        ("Which of the signs?", "B", "free-form", ("1 free-form answer is a letter, as 'B',",)),
        ("Which year?", "1999", "free-form", ("1 free-form answer is a number",)),
        ("How Manya works", "3", "free-form", ("1 free-form answer is a number",)),
    ],
)
def test_how_many_with_a_number_is_numerical(
    root: Path, question: str, answer: str, kind: str, said: tuple[str, ...]
) -> None:
    rows, reading = read(root, "r.tsv", f"video\tquestion\tanswer\nv/x.mp4\t{question}\t{answer}\n")
    assert (rows.questions[0][1].problem_type, rows.questions[0][1].answer) == (kind, answer)
    assert reading.types == {kind: 1}
    assert [text[: len(start)] for text, start in zip(reading.advice, said, strict=True)] == [*said]
    assert reading.guesses == ()


def test_counts_are_read_in_figures_and_the_build_says_so(root: Path) -> None:
    answers = ["three", "2 people", "Twenty-five men.", "two", "3"]
    lines = [f"v/x.mp4,How many?,{answer}" for answer in answers]
    rows, reading = read(root, "r.csv", "\n".join(["video,question,answer", *lines]))
    assert [(one.problem_type, one.answer) for _, one in rows.questions] == [
        ("numerical", answer) for answer in ("3", "2", "25", "2", "3")
    ]
    assert reading.guesses == (
        "4 answers to \"How many\" read as numbers: 'three' as 3, '2 people' as 2, 'Twenty-five men.' as 25 "
        "and others",
    )


def test_a_row_that_names_its_type_gets_no_advice(root: Path) -> None:
    types = ["free-form", "temporal", "", "numerical"]
    lines = [f"v/x.mp4,Which year?,1999,{word}" for word in types]
    rows, reading = read(root, "r.csv", "\n".join(["video,question,answer,type", *lines]))
    assert [one.problem_type for _, one in rows.questions] == ["free-form"] * 3 + ["numerical"]
    (advice,) = reading.advice
    assert "2 free-form answers are numbers, graded as text: write numerical in the column type of" in advice


OPTIONS_AS_TEXT = (
    '{"A": "red", "B": "blue"}',
    '["red", "blue"]',
    "['red', 'blue']",
    "['red' 'blue']",
    "red | blue",
    "A. red\nB. blue\n",
)


@pytest.mark.parametrize("options", OPTIONS_AS_TEXT)
def test_options_as_a_text_are_read_alike_in_every_format(root: Path, options: str) -> None:
    row = ROW | {"options": options, "answer": "B", "evidence_spans": "[[1, 2]]"}
    pl.DataFrame([row]).write_csv(root / "c.csv")
    pl.DataFrame([row]).write_parquet(root / "p.parquet")
    bodies = {"r.json": json.dumps([row]), "r.jsonl": json.dumps(row)}
    for name in ("c.csv", "p.parquet", *bodies):
        rows, _ = read(root, name, bodies.get(name) or (root / name).read_bytes())
        ((_, one),) = rows.questions
        assert (one.options, one.answer, one.evidence_spans) == (("A. red", "B. blue"), "B", ((1.0, 2.0),))
    blank = ROW | {"options": " ", "evidence_spans": "", "frame_times": ""}
    assert read(root, "b.jsonl", json.dumps(blank))[0].questions[0][1].options == ()


def test_rates_that_are_not_read_are_said(root: Path) -> None:
    (root / "frames").mkdir()
    (root / "frames" / "1.png").touch()
    (root / "v" / "x.png").touch()
    said = "fps not read for videos and images, which have their own times"
    for video, guesses in (("v/x.mp4", (said,)), ("v/x.png", (said,)), ("frames", ()), ("v/no.mp4", ())):
        rows, reading = read(root, "r.jsonl", json.dumps(ROW | {"video": video, "fps": 5}))
        assert (reading.guesses, reading.unread) == (guesses, ())
        assert [one.fps for _, one in rows.questions] == (
            [5.0] if video == "frames" else [0.0] * len(guesses)
        )


def test_absolute_paths_are_taken_relative_to_the_root_even_through_links(root: Path) -> None:
    (root / "link").symlink_to(root)
    for path in (root / "v/x.mp4", root / "link/v/x.mp4", f"file://{root}/v/x.mp4"):
        rows, _ = read(root, "r.csv", f"video,question,answer\n{path},Who?,red\n")
        assert [question.video.removeprefix("link/") for _, question in rows.questions] == ["v/x.mp4"]
    rows = read_annotations([root / "r.csv"], Path("/"))
    assert rows.questions[0][1].video == f"{root}/v/x.mp4".lstrip("/")
    rows, _ = read(root, "r.csv", "video,question,answer\n/etc/passwd,Who?,red\n")
    assert rows.failures[0].kind == "outside_root"


def test_columns_are_named_on_the_command_line() -> None:
    assert column_names("video=clip, question = my prompt") == {"video": "clip", "question": "my prompt"}
    for wrong in ("video", "video=", "=clip"):
        with pytest.raises(UsageError, match="FIELD=COLUMN"):
            column_names(wrong)


def test_named_columns_take_the_place_of_guesses(root: Path) -> None:
    body = "clip,path,q,a\nv/x.mp4,elsewhere,Who?,red\n"
    rows, reading = read(root, "r.csv", body, columns={"video": "clip", "question": "q", "answer": "a"})
    assert rows.questions[0][1].video == "v/x.mp4"
    assert reading.unread == ("path",)
    with pytest.raises(UsageError, match="no such column; the table has a, clip, path, q"):
        read(root, "r.csv", body, columns={"video": "film"})
    with pytest.raises(UsageError, match="got 'movie', expected one of video, question"):
        read(root, "r.csv", body, columns={"movie": "clip"})
    with pytest.raises(UsageError, match=r"the field comes first.*--columns video=clip$"):
        read(root, "r.csv", body, columns={"clip": "video"})
    with pytest.raises(UsageError, match=r"no column for the answer: .*answer=COLUMN,") as said:
        read(root, "r.csv", body, columns={"video": "clip", "question": "q"})
    assert "easyr1" not in str(said.value)
    with pytest.raises(UsageError, match="Video, video"):
        read(root, "r.csv", "Video,video,query,label\na,b,c,d\n")
    with pytest.raises(UsageError, match=r"no recipe fits its columns a, b;.*--columns"):
        read(root, "r.csv", "a,b\n1,2\n")


@pytest.mark.parametrize("answer", ["NaN", "nan", "None", "null"])
def test_a_missing_value_is_no_answer(root: Path, answer: str) -> None:
    rows, _ = read(root, "r.csv", f"video,question,answer\nv/x.mp4,Who?,{answer}\nv/x.mp4,Who?,red\n")
    assert [failure.row for failure in rows.failures] == [0]
    assert repr(answer) in rows.failures[0].message
    options = '{"video": "v/x.mp4", "question": "Who?", "options": ["Ann", "None"], "answer": "none"}\n'
    assert read(root, "r.jsonl", options)[0].questions[0][1].answer == "B"


@pytest.mark.parametrize("content", [None, b"abc"])
def test_a_video_column_of_hugging_face_datasets(root: Path, content: bytes | None) -> None:
    """Its path is read; bytes in the table are a failure that says what to do."""
    video = {"bytes": content, "path": "v/x.mp4"}
    pl.DataFrame([ROW | {"video": video}]).write_parquet(root / "r.parquet")
    rows = read_annotations([root / "r.parquet"], root)
    assert [question.video for _, question in rows.questions] == ([] if content else ["v/x.mp4"])
    assert [(f.kind, "video: the bytes" in f.message) for f in rows.failures] == [("bad_row", True)] * bool(
        content
    )


ROW = {"video": "v/x.mp4", "question": "Who?", "answer": "red"}
INSIDE = {
    "a key": ({"info": {"version": 1}, "data": [ROW, ROW]}, "rows under the key 'data'", ["r-0", "r-1"]),
    "another key": ({"questions": [ROW | {"id": 7}], "total": 1}, "rows under the key 'questions'", ["7"]),
    "ids": ({"q1": ROW, "q2": ROW | {"id": "own"}}, "rows by their ids", ["q1", "own"]),
    "pandas' columns": (
        {name: {"0": cell, "1": cell} for name, cell in ROW.items()},
        "an object of columns",
        ["r-0", "r-1"],
    ),
    "lists": ({name: [cell, cell] for name, cell in ROW.items()}, "an object of columns", ["r-0", "r-1"]),
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("case", INSIDE)
def test_rows_inside_one_json_object(root: Path, case: str, indent: int | None) -> None:
    body, guess, ids = INSIDE[case]
    rows, reading = read(root, "r.json", json.dumps(body, indent=indent))
    assert not rows.failures
    assert [(one.sample_id, one.question, one.answer) for _, one in rows.questions] == [
        (sample_id, "Who?", "red") for sample_id in ids
    ]
    assert reading.guesses == (reading.guesses[0],)
    assert guess in reading.guesses[0]


def test_rows_inside_an_object_are_named_where_they_fail_and_read_by_what_is_asked_for(root: Path) -> None:
    body = {"data": [{"clip": "v/x.mp4", "q": "Who?", "a": "red"}, {"clip": "v/x.mp4", "q": 3, "a": "red"}]}
    names = {"video": "clip", "question": "q", "answer": "a"}
    rows, reading = read(root, "r.json", json.dumps(body), columns=names)
    assert (len(rows.questions), reading.guesses[0]) == (1, "rows under the key 'data'")
    assert rows.failures[0].message == "r.json data item 2: q: got 3, expected a text"
    rows, _ = read(root, "r.json", json.dumps({"q1": ROW, "q2": ROW | {"answer": 2.5}}), recipe="plain-id")
    assert [one.sample_id for _, one in rows.questions] == ["q1", "q2"]
    # A row that is no object, or has a key twice, costs no other.
    for body in ('{"data": [%s, null, {"answer": 1, "answer": 2}, %s]}', '{"q1": %s, "q2": null, "q3": %s}'):
        rows, _ = read(root, "r.json", body % (json.dumps(ROW), json.dumps(ROW)))
        assert (len(rows.questions), {failure.kind for failure in rows.failures}) == (2, {"bad_row"})
    # A row that is alone in its file stays one, whatever lists it holds.
    rows, reading = read(root, "r.jsonl", json.dumps(ROW | {"notes": [{"by": "me"}]}))
    assert (len(rows.questions), reading.unread) == (1, ("notes",))


@pytest.mark.parametrize(
    ("written", "disk", "guess"),
    [
        ("v\\y.mp4", "v/y.mp4", "backslashes in paths"),
        ("v\u00e9/\u00e9.mp4", "ve\u0301/e\u0301.mp4", "another Unicode form"),
        ("ve\u0301/e\u0301.mp4", "v\u00e9/\u00e9.mp4", "another Unicode form"),
        ("v/y", "v/y.webm", "without their ending"),
        ("v/12.0_30.5", "v/12.0_30.5.MP4", "without their ending"),
        (4882821564, "4882821564.mp4", "without their ending"),
    ],
)
def test_a_file_that_the_table_calls_otherwise(root: Path, written: object, disk: str, guess: str) -> None:
    (root / disk).parent.mkdir(exist_ok=True)
    (root / disk).touch()
    rows, reading = read(root, "r.jsonl", json.dumps(ROW | {"video": written}) + "\n" + json.dumps(ROW))
    assert [one.video for _, one in rows.questions] == [disk, "v/x.mp4"]
    assert [guess in each for each in reading.guesses] == [True]


@pytest.mark.parametrize("name", ["v/two", "v/x.mp3", "C:\\v\\x.mp4", "v\\..\\..\\x.mp4", "v/none/x"])
def test_a_path_with_two_meanings_or_none_is_a_failure(root: Path, name: str) -> None:
    for suffix in (".mp4", ".mkv"):
        (root / "v" / f"two{suffix}").touch()
    rows, _ = read(root, "r.jsonl", json.dumps(ROW | {"video": name}))
    assert not rows.questions
    assert repr(name)[1:-1] in rows.failures[0].message
