"""CSV rows against the standard reader where all is well, and by hand where a row is wrong."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.csv_rows import csv_rows
from strive_data.errors import SampleError, UsageError


def read(text):
    return [
        (line, str(row) if isinstance(row, SampleError) else row) for line, row in csv_rows(text, "f.csv")
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
    assert rows[0] == (2, "broken CSV: got 1 cells, expected 2 as in the header")
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
        ("a,a\n1,2\n", "stands twice"),
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
