"""One row of any data set, read by its recipe → a row in the Video-R1 layout, which `question_row` checks.

Values are moved, chosen and lettered, never guessed: what a rule does not foresee is a bad row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from strive_data.annotation_rows import Item, json_value
from strive_data.choices import Layout, options_by_letter, read_choices
from strive_data.errors import FailureKind, SampleError
from strive_data.recipes import HOLE, Recipe
from strive_data.shown import shown

# Names of the Video-R1 layout by the recipe's.
LAYOUT = {
    "id": "problem_id",
    "question": "problem",
    "video": "path",
    "answer": "solution",
    "options": "options",
    "evidence_spans": "evidence_spans",
    "source": "data_source",
    "data_type": "data_type",
}
SEPARATOR = "|"
LARGEST = 1e15

Row = Mapping[str, object]


def labels_of(recipe: Recipe) -> dict[str, str]:
    """What messages call the fields of the Video-R1 layout: the names that the data set's own rows use."""
    labels = {LAYOUT[name]: _label(text, name) for name, text in vars(recipe.fields).items() if text}
    return labels | {"problem_type": _label(recipe.problem_type.field, "problem_type")}


def layout_of(item: Item, recipe: Recipe, labels: Mapping[str, str]) -> object:
    """The item's row in the Video-R1 layout; anything that is no row as it is.

    `labels` are `labels_of(recipe)`.

    Raises SampleError (bad_row) for a field that the recipe's rules cannot read.
    """
    row = item.value
    if not isinstance(row, Mapping):
        return row
    layout: Layout = {}
    for name, text in vars(recipe.fields).items():
        if text and (found := _field(item, row, text)) is not ABSENT:
            layout[LAYOUT[name]] = found
    _cut_video(layout, recipe)
    if item.textual:
        _parse_cells(layout, labels)
    options = layout.get("options")
    if recipe.rules.options == "any" and isinstance(options, Mapping):
        layout["options"] = options_by_letter(options, labels["options"])
    _set_type(item, row, layout, recipe)
    if layout.get("problem_type") == "multiple choice":
        read_choices(layout, recipe.rules, labels)
    return layout


def identity_of(item: Item, recipe: Recipe) -> Layout:
    """As much as can be told of a row's id and video, however bad the rest is."""
    known: Layout = {}
    for name in ("id", "video"):
        try:
            value = _field(item, item.value, getattr(recipe.fields, name))
        except SampleError:
            continue
        if value is not ABSENT:
            known[LAYOUT[name]] = value
    return known


class _Absent:
    """A field that the row does not have, as apart from null."""


ABSENT = _Absent()


def _field(item: Item, row: object, text: str) -> object:
    """The value of a field's name, or the text made from the fields in braces."""
    if not isinstance(row, Mapping):
        return ABSENT
    if "{" not in text:  # a recipe has braces around names only
        return row.get(text, ABSENT)
    return HOLE.sub(lambda hole: _filled(item, row, hole[1]), text)


def _filled(item: Item, row: Row, name: str) -> str:
    if name.startswith("@"):
        places = {"@file": item.path.stem, "@folder": item.path.absolute().parent.name, "@row": str(item.row)}
        return places[name]
    value: object = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or value.get(part) is None:
            _bad(f"{name} is missing")
        value = value[part]
    if isinstance(value, str):
        if not value.strip():
            _bad(f"{name} is empty")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST:
        return str(value)
    return _bad(f"{name}: got {shown(value)}, expected a text or a number below {LARGEST:.0e}")


def _cut_video(layout: Layout, recipe: Recipe) -> None:
    after, video = recipe.rules.video_after, layout.get("path")
    if not after or not isinstance(video, str):
        return
    _, found, path = video.partition(after)
    if not found:
        _bad(f"{_label(recipe.fields.video, 'video')}: got {shown(video)}, expected {after!r} in it")
    layout["path"] = path


def _parse_cells(layout: Layout, labels: Mapping[str, str]) -> None:
    """Lists in the cells of a table of texts: JSON, or options with | between them."""
    for name in ("options", "evidence_spans"):
        cell = layout.get(name)
        if not isinstance(cell, str):
            continue
        if cell.lstrip()[:1] in ("[", "{") or name == "evidence_spans":
            layout[name] = _json_cell(cell, labels[name])
        else:
            layout[name] = [option.strip() for option in cell.split(SEPARATOR)]


def _json_cell(cell: str, label: str) -> object:
    try:
        value = json_value(cell.encode("utf-8", "surrogateescape"))
        if isinstance(value, SampleError):
            raise value
    except SampleError as error:
        _bad(f"{label}: got {shown(cell)}, {error.message}")
    return value


def _set_type(item: Item, row: Row, layout: Layout, recipe: Recipe) -> None:
    rule = recipe.problem_type
    word = _field(item, row, rule.field) if rule.field else ABSENT
    known = rule.words
    if word is not ABSENT and word is not None and not known:
        layout["problem_type"] = word
    elif isinstance(word, str) and word in known:
        layout["problem_type"] = known[word]
    elif rule.otherwise == "by options":
        layout["problem_type"] = "multiple choice" if layout.get("options") else "free-form"
    elif rule.otherwise:
        layout["problem_type"] = rule.otherwise
    elif isinstance(word, str):
        _bad(f"{_label(rule.field, 'problem_type')}: got {shown(word)}, expected one of {', '.join(known)}")
    elif word is not ABSENT:
        layout["problem_type"] = word


def _label(text: str, name: str) -> str:
    """A field is called as the row calls it; what is made of several, by the recipe's `name` for it."""
    if not HOLE.search(text):
        return text or name
    hole = HOLE.fullmatch(text)
    return hole[1] if hole else name


def _bad(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
