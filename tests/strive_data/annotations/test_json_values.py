from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.json_values import UnsplittableError, json_value, list_values
from strive_data.annotations.read import read_annotations
from strive_data.errors import SampleError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5), st.integers(1, 40), st.booleans())
def test_a_streamed_list_has_the_values_of_the_whole(rows: list[object], block: int, indented: bool) -> None:
    body = json.dumps(rows, indent=1 if indented else None).encode()
    blocks = [body[start : start + block] for start in range(0, len(body), block)]
    try:
        assert [row for values in list_values(blocks) for row in values] == rows
    except UnsplittableError:
        assert json_value(body) == rows


@given(JSON)
def test_values_are_those_of_the_standard_library(value: object) -> None:
    body = json.dumps(value)
    assert json_value(body.encode()) == json.loads(body)
    assert json_value(json.dumps({"a": value, "b": 1e300, "c": 2**70}).encode()) == {
        "a": value,
        "b": 1e300,
        "c": 2**70,
    }


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a" : 1, "a": 2}', '{"b": "\\":", "a": 1, "a": 2}'])
def test_a_key_that_appears_twice_is_never_dropped_in_silence(text: str) -> None:
    assert isinstance(json_value(text.encode()), SampleError)


def test_memory_does_not_hold_the_file(tmp_path: Path) -> None:
    row = {"problem_id": 0, "problem": "Who?", "path": "x.mp4", "solution": "A", "junk": "x" * 5000}
    row |= {"problem_type": "multiple choice", "options": ["A. a", "B. b"], "data_type": "video"}
    file = tmp_path / "r.json"
    with io.TextIOWrapper(file.open("wb")) as out:
        out.write("[" + ",".join(json.dumps(row | {"problem_id": i}) for i in range(4000)) + "]")
    tracemalloc.start()
    rows = read_annotations([file], tmp_path, check_files=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows.questions) == 4000
    assert file.stat().st_size > 20_000_000
    assert peak < 9_000_000
