"""CSV rows against the standard reader where all is well, and by hand where a row is wrong."""

from __future__ import annotations

import csv
import gc
import io
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.delimited import table_rows
from strive_data.annotations.nested_rows import items_of, nested_items
from strive_data.annotations.rows import Block, Places, columns_of, read_rows
from strive_data.errors import SampleError, UsageError
from tests.strive_data.annotations.made_rows import written

ROWS = [{"a": "x", "b": [1, 2]}, {"a": "y", "b": []}]


def places_of(items):
    places, items = Places(), list(items)
    places.add(Block(*zip(*items, strict=True)))
    return [places.of(row) for row in range(len(items))]


def test_each_format_gives_the_same_rows(tmp_path):
    pl.DataFrame(ROWS).write_parquet(tmp_path / "rows.parquet")
    paths = [
        written(tmp_path, name="rows.json", body=json.dumps(ROWS)),
        written(tmp_path, name="rows.jsonl", body="\n".join(map(json.dumps, ROWS))),
        tmp_path / "rows.parquet",
    ]
    files = [read_rows(path) for path in paths]
    assert [[item.value for item in file.items] for file in files] == [ROWS] * 3
    assert [places_of(file.items) for file in files] == [
        ["rows.json item 1", "rows.json item 2"],
        ["rows.jsonl line 1", "rows.jsonl line 2"],
        ["rows.parquet row 1", "rows.parquet row 2"],
    ]
    assert [columns_of(file.items) for file in files] == [{"a", "b"}] * 3
    assert [file.tree for file in files] == [None] * 3


def test_a_broken_row_holds_no_frames_that_keep_its_file_open(tmp_path):
    pieces = ['{"a":\n1,\n"b": [{"c": 1}]}', '{"a": 1}\n{"a\n{"a": 2}\n']
    for number, body in enumerate(pieces):
        file = read_rows(written(tmp_path, name=f"{number}.json", body=body))
        broken = [item.value for item in file.items if isinstance(item.value, SampleError)]
        assert [error.__traceback__ for error in broken] == [None] * number
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(2):
            read_rows(tmp_path / f"{number}.json")
        gc.collect()
        assert not [
            each for each in gc.garbage if isinstance(each, io.IOBase) and str(tmp_path) in repr(each)
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def test_quick_rows_are_made_exact(tmp_path):
    lines = '{"a": 100000000000000000000}\n{"a": 1, "a": 2}\n{"a": NaN\n{"a": "b: c"}\n'
    file = read_rows(written(tmp_path, name="r.jsonl", body=lines))
    quick = [value for block in file.items.blocks() for value in block.value]
    exact = [*file.items]
    assert quick[0] == {"a": 1e20}
    assert repr(exact[0].value) == "{'a': 100000000000000000000}"
    assert [str(value) for value in quick[1:]] == [str(item.value) for item in exact[1:]]
    assert str(exact[1].value) == "the key 'a' appears twice in one object"


def test_csv_rows_are_texts_and_a_bad_byte_stays_in_its_row(tmp_path):
    file = read_rows(written(tmp_path, name="rows.CSV", body=b"\xef\xbb\xbfa,b\n1,\xff\n2,\xc3\xa9\n"))
    assert [(item.number, item.row, item.value) for item in file.items] == [
        (2, 0, {"a": "1", "b": "\udcff"}),
        (3, 1, {"a": "2", "b": "é"}),
    ]


def test_a_broken_first_line_does_not_make_a_list_of_lines(tmp_path):
    for first in ("[", "[1]", '[{"a": 1}'):
        file = read_rows(written(tmp_path, name="r.jsonl", body=first + '\n{"a": 2}\n{"a": 3}\n'))
        assert [item.value for item in list(file.items)[1:]] == [{"a": 2}, {"a": 3}]


def test_a_null_of_a_table_is_an_absent_field(tmp_path):
    pl.DataFrame({"a": ["x", None], "b": [None, 2]}).write_parquet(tmp_path / "r.pq")
    assert [item.value for item in read_rows(tmp_path / "r.pq").items] == [{"a": "x"}, {"b": 2}]


def test_one_object_over_several_lines_is_a_tree_and_one_row(tmp_path):
    tree = {"v": {"speed": [{"q": 1}, {"q": 2, "key": "own"}], "order": [5]}, "w": {"speed": {}}, "x": 3}
    file = read_rows(written(tmp_path, name="t.json", body=json.dumps(tree, indent=1)))
    assert (file.tree, [item.value for item in file.items]) == (tree, [tree])
    items = list(nested_items(file.path, tree, "{key}/{dimension}"))
    assert [*zip(places_of(items), [item.row for item in items], strict=True)] == [
        ("t.json v/speed item 1", 0),
        ("t.json v/speed item 2", 1),
        ("t.json v/order item 1", 0),
        ("t.json w/speed", 0),
        ("t.json x", 0),
    ]
    # The recipe's names are above the row's own fields.
    assert items[1].value == {"q": 2, "key": "v", "dimension": "speed"}
    assert items[2].value == 5
    assert str(items[3].value) == "expected a list of rows"
    assert str(items[4].value) == "expected an object"


def test_steps_may_be_keys(tmp_path):
    tree = {"v": {"mc": [{"q": 1}]}, "w": {}}
    items = list(nested_items(tmp_path / "t.json", tree, "{video}/mc"))
    assert items[0].value == {"q": 1, "video": "v"}
    assert str(items[1].value) == "mc is missing"
    assert [item.value for item in nested_items(tmp_path / "t.json", {"rows": [{"q": 1}]}, "rows")] == [
        {"q": 1}
    ]


def test_a_key_that_stands_twice_costs_its_object_and_no_other(tmp_path):
    file = read_rows(written(tmp_path, name="r.json", body='[{"a": 1}, {"a": 1, "a": 2}, {"a": 3}]'))
    assert [isinstance(item.value, SampleError) for item in file.items] == [False, True, False]
    assert str(list(file.items)[1].value) == "the key 'a' appears twice in one object"
    with pytest.raises(UsageError, match="'v' appears twice"):
        read_rows(written(tmp_path, name="t.json", body='{\n"v": {},\n"v": {}\n}'))
    tree = read_rows(
        written(tmp_path, name="t.json", body='{"v": {"a": [], "a": []}, "w": {"a": [{"q": 1}]}}')
    ).tree
    values = [item.value for item in nested_items(tmp_path / "t.json", tree, "{video}/{d}")]
    assert str(values[0]) == "the key 'a' appears twice in one object"
    assert values[1] == {"q": 1, "video": "w", "d": "a"}


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("r.csv", "a,b\n", "has a header and no rows"),
        ("r.csv", "a,a\n1,2\n", "appears twice in the CSV header"),
        ("r.csv", "\n \n", "is empty"),
        ("r.parquet", "a,b\n1,2\n", "is not a parquet file"),
        ("r.parquet", b"PAR1" + bytes(40) + b"PAR1", "is not a parquet file"),
        ("r.json", '{"a": 1', "no line is a JSON object"),
    ],
)
def test_files_that_hold_no_rows(tmp_path, name, body, says):
    path = written(tmp_path, name=name, body=body)
    with pytest.raises(UsageError, match=says) as caught:
        read_rows(path)
    assert str(path) in str(caught.value)


def test_a_table_without_rows(tmp_path):
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(UsageError, match="has no rows"):
        read_rows(tmp_path / "r.parquet")


def test_an_indented_object_is_one_tree_and_a_lone_brace_one_bad_line(tmp_path):
    file = tmp_path / "nested.json"
    file.write_text('{\n  "v": {\n    "speed": [{"question": "Q?"}]\n  }\n}\n')
    assert read_rows(file).tree == {"v": {"speed": [{"question": "Q?"}]}}
    file.write_text('{\n{"id": 1}\n{"id": 2}\n')
    read = read_rows(file)
    assert read.tree is None
    assert [isinstance(item.value, SampleError) for item in read.items] == [True, False, False]


def read(text):
    return [
        (line, str(row) if isinstance(row, SampleError) else row)
        for line, row in table_rows(io.StringIO(text, newline="\n"), "f.csv")
    ]


def test_cells_by_name_empty_ones_absent_blank_lines_aside():
    assert read("a, b ,c\r\n1,,x\r\n\r\n,2,\n") == [(2, {"a": "1", "c": "x"}), (4, {"b": "2"})]


def test_cells_may_hold_commas_quotes_and_lines():
    assert read('\na,b\n"x, ""y""","1\n2"\nz,3') == [
        (3, {"a": 'x, "y"', "b": "1\n2"}),
        (5, {"a": "z", "b": "3"}),
    ]


def test_a_wrong_number_of_cells_costs_one_row():
    rows = read("a,b\n1\n2,2\n3,3,3\n4,4\n")
    assert [line for line, row in rows if isinstance(row, dict)] == [3, 5]
    assert rows[0][1].startswith("broken CSV: got 1 cells, expected 2 as in the header; put double quotes")
    assert rows[2][1].startswith("broken CSV: got 3 cells")


@pytest.mark.parametrize("tail", ["", 'x,"y"\n'])
def test_a_quote_left_open_costs_one_row(tail):
    rows = read('a,b\n1,1\n2,"open\n3,3\n4,4\n' + tail)
    assert [row for _, row in rows if isinstance(row, dict)][:3] == [
        {"a": "1", "b": "1"},
        {"a": "3", "b": "3"},
        {"a": "4", "b": "4"},
    ]
    assert [line for line, row in rows if isinstance(row, str)] == [3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,a\n1,2\n", "appears twice"),
        ("a,,b\n1,2,3\n", "a name is empty"),
        ("a,\udcff\n1,2\n", "is no list of names"),
        ('"a\n1', "cannot be read"),
    ],
)
def test_headers_that_name_no_columns(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        read(text)
    assert "f.csv" in str(caught.value)


CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_what_a_writer_wrote_is_read_back(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("a", "b"), *rows])
    assert [row for _, row in read(file.getvalue())] == [{"a": a, "b": b} for a, b in rows]


def test_numbered_rows_are_a_list_of_rows(tmp_path):
    tree = {"Perception": {"0": {"q": 1}, "1": {"q": 2}}, "Adaptation": {"0": 3}}
    items = list(nested_items(tmp_path / "t.json", tree, "{track}"))
    assert [item.value for item in items[:2]] == [{"q": n, "track": "Perception"} for n in (1, 2)]
    assert str(items[2].value) == "expected a list of rows"


def test_the_columns_of_one_object_are_rows_by_themselves_and_by_a_recipe(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"a": [1, 2], "b": [3, 4]}')
    file = read_rows(path)
    for steps in ("", "a&b"):
        assert [item.value for item in items_of(file, steps)] == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
