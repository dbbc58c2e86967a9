"""The short way of plain rows gives what the full rules give, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.annotations.apply_recipe import RecipeReader
from strive_data.annotations.json_values import quick_values
from strive_data.annotations.plain_rows import PlainReader
from strive_data.annotations.question import question_of
from strive_data.annotations.recipes import own_table, packaged_recipes, with_option_columns
from strive_data.annotations.rows import Block, Item
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import SampleError

VIDEOS = VideoFolder(Path(), check_files=False)


def readers(recipe):
    reader = RecipeReader(recipe)
    return reader, PlainReader(reader, VIDEOS)


def by_full_rules(reader, item):
    try:
        return question_of(reader.layout(item), VIDEOS, labels=reader.labels)
    except SampleError:
        return None


def own(*columns, **rules):
    _, recipe = own_table({*columns}, {})
    recipe = with_option_columns(recipe, {*columns})
    return replace(recipe, rules=replace(recipe.rules, **rules))


COLUMNS = ("id", "video", "question", "answer", "options", "evidence_spans", "source", "problem_type", "fps")
RECIPES = {
    "own": own(*COLUMNS),
    "own, no ids": own("video", "question", "answer", "options", "A", "B"),
    "own, a column each": own("video", "question", "answer", "A", "B", "C"),
    "index": own(*COLUMNS, answer="index"),
    "number": own(*COLUMNS, answer="number"),
    "text": own(*COLUMNS, answer="text"),
    "in question": own(*COLUMNS, options="in question"),
} | packaged_recipes()

TEXTS = ["red", "blue", "A", "B", "b", "A. red", "A. ", "B. blue", "(B) blue", "C) x", "a.", "3", "3.0",
         "-1", "",
         " red ", "nan", "<answer>B</answer>", "<answer>red", "How many? <video>", "\0", "寿司", "Red.",
         "clip.mp4",
         "../x.mp4", "pic.png", "12 to 15", "multiple choice", "free-form", "OCR", "numerical", "0", "1",
         "video",
         "image", "mc", "[1]", "."]  # fmt: skip
LISTS = st.one_of(
    st.sampled_from(
        [
            ["A. red", "B. blue"],
            ["red", "blue"],
            ["red", "N/A"],
            ["1", "3"],
            ["A", "B"],
            ["B. red", "A. blue"],
            ["x"],
        ]
    ),
    st.lists(st.sampled_from(TEXTS), max_size=4),
)
VALUES = st.one_of(
    st.sampled_from(TEXTS),
    LISTS,
    st.sampled_from(
        [None, 0, 1, 3, 2.0, 1e300, True, {}, {"A": "red", "B": "blue"}, [[0, 1.5]], [[2, 1]], 10**20]
    ),
)
LIKELY = {
    "id": st.sampled_from(["7", 7, " 7", "", 1.5, "\n"]),
    "video": st.sampled_from(["v.mp4", " v.mp4", "pic.png"]),
    "question": st.sampled_from(["Which?", "How many?", "Which?\nA. red\nB. blue", "<video>Who?",
                                 "<video>, who?"]),
    "answer": st.sampled_from(["A", "red", "B. blue", "3", 3, "<answer>A</answer>"]),
    "options": LISTS,
   "source": st.sampled_from(["s", " s", ""]),
    "problem_type": st.sampled_from(["multiple choice", "OCR", "mc"]),
}  # fmt: skip


def rows_of(recipe):
    """Rows in a recipe's columns: in most of them one or two values are odd."""
    names = {}
    for field, text in (vars(recipe.fields) | {"problem_type": recipe.problem_type.field}).items():
        for column in filter(None, text.replace("{", "").replace("}", "").split("|")):
            names[column.strip().partition("[")[0]] = LIKELY.get(field, st.just(None))
    names |= {column: st.sampled_from(TEXTS) for column in recipe.rules.option_columns}
    odd = st.dictionaries(st.sampled_from(sorted(names)), VALUES, max_size=2)
    absent = st.sets(st.sampled_from(sorted(names)), max_size=2)
    usual = st.fixed_dictionaries(names)
    return st.builds(
        lambda row, change, gone: {k: v for k, v in (row | change).items() if k not in gone},
        usual,
        odd,
        absent,
    )


READERS = {name: readers(recipe) for name, recipe in RECIPES.items()}
ROWS = {name: rows_of(recipe) for name, recipe in RECIPES.items()}


def by_columns(plain, items):
    return plain.questions(Block(*zip(*items, strict=True)))


@settings(max_examples=250, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(RECIPES)))
def test_plain_rows_are_read_as_by_the_full_rules(data, name):
    """In a block with other rows, too."""
    reader, plain = READERS[name]
    rows = data.draw(st.lists(ROWS[name], min_size=1, max_size=4))
    raws = [json.dumps(row, ensure_ascii=data.draw(st.booleans())).encode() for row in rows]
    quick = [
        Item(Path("rows.jsonl"), "line", row + 1, row, value, raw)
        for row, (value, raw) in enumerate(zip(quick_values(raws), raws, strict=True))
    ]
    exact = [item.exact() for item in quick]
    for items in (quick, exact):
        for item, found in zip(exact, by_columns(plain, items), strict=True):
            if found is not None:
                assert found == by_full_rules(reader, item)


def test_rows_that_the_full_rules_refuse_are_not_plain():
    row = {"id": "7", "video": "v.mp4", "question": "Q?", "answer": "A", "options": ["red", "blue"]}
    others = [
        {"answer": "C"},
        {"answer": "-1"},
        {"answer": 2},
        {"id": ""},
        {"question": " "},
        {"video": "a\0b"},
        {"source": "\ud800"},
        {"evidence_spans": [[2, 1]]},
        {"options": ["red", ""]},
        {"options": ["red", None]},
        {"options": ["A. red", "B.  blue"]},
        {"options": ["A. red", "B. \u3000blue"]},
    ]
    numbered = {"answer": "1", "options": ["3", "1"]}  # 1 is the first option, and not the one that reads 1
    usuals = {"own": {}, "index": {"answer": "1"}, "number": numbered, "text": {"answer": "red"}}
    for name, usual in usuals.items():
        rows = [row | usual, *(row | usual | other for other in others)]
        items = [Item(Path("r.jsonl"), "line", at, at, each) for at, each in enumerate(rows)]
        found = by_columns(readers(RECIPES[name])[1], items)
        assert found[0] is not None
        for item, question in zip(items, found, strict=True):
            assert question in (None, by_full_rules(readers(RECIPES[name])[0], item))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("own", {"id": "7", "video": "v.mp4", "question": "Q?", "answer": "blue",
                 "options": ["red", "blue"]}),
        ("own", {"id": 7, "video": "v.mp4", "question": "Q?", "answer": "B",
                 "options": ["A. red", "B. blue"]}),
        ("own, no ids", {"video": "v.mp4", "question": "How many?", "answer": 3}),
        ("own, a column each", {"video": "v.mp4", "question": "Q?", "answer": "B", "A": "x", "B": "y"}),
        ("video-r1", {"problem_id": 7, "path": "v.png", "problem": "Q?", "solution": "<answer>B</answer>",
                      "options": ["A. x", "B. y"], "problem_type": "multiple choice", "data_type": "image"}),
        ("video-r1", {"problem_id": 7, "path": "v.mp4", "problem": "Q?", "solution": "<answer>3.5</answer>",
                      "options": [], "problem_type": "regression", "data_type": "video", "data_source": "x"}),
    ],
)  # fmt: skip
def test_rows_as_most_tables_hold_them_are_plain(name, row):
    """Else they would be right and slow."""
    reader, plain = READERS[name]
    item = Item(Path("rows.jsonl"), "line", 8, 7, row)
    (found,) = by_columns(plain, [item])
    assert found is not None
    assert found == by_full_rules(reader, item)
    with pytest.raises(AttributeError):
        found.answer = "C"
