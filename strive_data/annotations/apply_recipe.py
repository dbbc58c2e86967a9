"""One row of any data set, read by its recipe → a row in the Video-R1 layout, which `question_of` checks.

Values are moved, chosen and lettered, never guessed: a value that no rule foresees makes a bad row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NoReturn

from strive_data.annotations.choices import (
    LETTER,
    OPTION,
    Layout,
    options_by_letter,
    options_of_columns,
    read_choices,
    take_from_question,
)
from strive_data.annotations.json_values import json_value
from strive_data.annotations.numbers import is_number
from strive_data.annotations.recipes import HOLE, Recipe, Step, steps_of
from strive_data.annotations.rows import Item
from strive_data.common.text import short_repr
from strive_data.errors import FailureKind, SampleError

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
    "image": "image",
    "fps": "fps",
    "frame_times": "frame_times",
}
SEPARATOR = "|"
IN_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
HOW_MANY = re.compile(r"\bhow\s+many\b", re.IGNORECASE)
LARGEST = 1e15
NUMBERS = (int, float, Decimal)
BY_ANSWER = "by answer"

Row = Mapping[str, object]
# Value of a field in a row; ABSENT where the row does not have it, as apart from null.
Getter = Callable[[Item, Row], object]


NO_FOLDERS: Mapping[str, str] = {}


class _Absent:
    """A field that the row does not have."""


ABSENT = _Absent()


class RecipeReader:
    """Reads rows by one recipe. `labels` has the names that the data set's own rows use, for messages."""

    def __init__(self, recipe: Recipe) -> None:
        fields = {name: text for name, text in vars(recipe.fields).items() if text}
        self.recipe = recipe
        self.labels = {LAYOUT[name]: _label(text, name) for name, text in fields.items()}
        self.labels["problem_type"] = _label(recipe.problem_type.field, "problem_type")
        self._getters = [(LAYOUT[name], getter(text, recipe.video_folders)) for name, text in fields.items()]
        # Lists of which the recipe takes the first item, by what they hold.
        self.lists = dict.fromkeys(_lists_of(recipe.fields.video), "videos")
        self.lists |= dict.fromkeys(_lists_of(recipe.fields.image), "images")
        self._word = getter(recipe.problem_type.field) if recipe.problem_type.field else None

    def layout(self, item: Item) -> object:
        """The item's row in the Video-R1 layout; a value that is no row as it is.

        Raises SampleError (bad_row) for a field that the recipe's rules cannot read.
        """
        row = item.value
        if not isinstance(row, dict):
            return row
        layout: Layout = {}
        for name, kind in self.lists.items():
            _refuse_many(row, name, kind)
        for name, get in self._getters:
            found = get(item, row)
            if found is not ABSENT:
                layout[name] = found
        rules = self.recipe.rules
        if self.recipe.fields.image and "image" in layout:
            _take_image(layout, self.labels)
        if rules.option_columns and layout.get("options") is None:
            layout["options"] = options_of_columns(row, rules.option_columns)
        _clean(layout, self.recipe)
        if item.textual:
            _parse_cells(layout, self.labels)
        options = layout.get("options")
        if rules.options == "any" and isinstance(options, dict):
            layout["options"] = options_by_letter(options, self.labels["options"])
        elif rules.options == "any" and isinstance(options, str):
            layout["options"] = [line for line in options.splitlines() if line.strip()]
        self._set_type(item, row, layout)
        if layout.get("problem_type") == "multiple choice":
            read_choices(layout, rules, self.labels)
        return layout

    def identity(self, item: Item) -> Layout:
        """As much as is known of a row's id and video, however bad the rest is."""
        known: Layout = {}
        for name, get in self._getters:
            if name not in ("problem_id", "path", "image") or not isinstance(item.value, dict):
                continue
            try:
                value = get(item, item.value)
            except SampleError:
                continue
            if value is not ABSENT:
                known[name] = value
        image = known.pop("image", None)
        return known | {"path": image} if _is_empty(known.get("path")) and image else known

    def _set_type(self, item: Item, row: Row, layout: Layout) -> None:
        rule = self.recipe.problem_type
        word = self._word(item, row) if self._word else ABSENT
        known = rule.words
        otherwise = rule.absent or rule.otherwise if word is ABSENT or word is None else rule.otherwise
        if word is not ABSENT and word is not None and not known:
            layout["problem_type"] = word
        elif isinstance(word, str) and (kind := known.get(word.casefold())):
            layout["problem_type"] = _type_by_answer(layout) if kind == BY_ANSWER else kind
            if rule.absent == BY_ANSWER and kind == "multiple choice":
                _find_options(layout)
        elif otherwise == "by options":
            layout["problem_type"] = "multiple choice" if layout.get("options") else "free-form"
        elif otherwise == "by question":
            if names_option(layout.get("solution")):
                _find_options(layout)
            layout["problem_type"] = (
                "multiple choice"
                if layout.get("options")
                else type_by_question(layout.get("problem"), layout.get("solution"))
            )
        elif otherwise == BY_ANSWER:
            layout["problem_type"] = _type_by_answer(layout)
        elif otherwise:
            layout["problem_type"] = otherwise
        elif isinstance(word, str):
            label = self.labels["problem_type"]
            _bad_row(f"{label}: got {short_repr(word)}, expected one of {', '.join(known)}")
        elif word is not ABSENT:
            layout["problem_type"] = word


def getter(text: str, folders: Mapping[str, str] = NO_FOLDERS) -> Getter:
    """Reads a field by its name, by a path, or as a text made of the fields in braces."""
    if HOLE.search(text):
        hole = HOLE.fullmatch(text)
        if hole:
            return lambda item, row: _whole(item, row, hole[1], folders)
        # Texts between the holes, and the holes at every second place.
        parts = HOLE.split(text)
        return lambda item, row: "".join(
            [_filled(item, row, part, folders) if at % 2 else part for at, part in enumerate(parts)]
        )
    paths = [(path.strip(), steps_of(path.strip())) for path in text.split("|")]
    if len(paths) == 1 and len(steps_of(text)) == 1:
        return lambda item, row: row.get(text, ABSENT)
    return lambda item, row: _first_of(row, paths)


def column_of(text: str) -> str:
    """The one column that a field is, by its name alone or in braces; "" where it is anything else."""
    hole = HOLE.fullmatch(text)
    name = hole[1] if hole else text
    return name if steps_of(name) == (name,) and name[0] != "@" and not HOLE.search(name) else ""


def _first_of(row: Row, paths: list[tuple[str, tuple[Step, ...]]]) -> object:
    for path, steps in paths:
        value = row[path] if path in row else _at(row, steps)
        if value is not ABSENT and value is not None:
            return value
    return ABSENT


def _at(value: object, steps: tuple[Step, ...]) -> object:
    """The value that the steps lead to; ABSENT where one of them leads nowhere."""
    for step in steps:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step, ABSENT)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        elif isinstance(step, tuple) and isinstance(value, list):
            key, wanted = step
            fits = [each for each in value if isinstance(each, Mapping) and each.get(key) == wanted]
            if len(fits) > 1:
                _bad_row(f"got {len(fits)} entries of {key} {wanted!r}, expected one: one question a row")
            value = fits[0] if fits else ABSENT
        else:
            return ABSENT
    return value


def _whole(item: Item, row: Row, name: str, folders: Mapping[str, str]) -> object:
    """A field as a text, or the list or object that it is."""
    value = row.get(name)
    return value if isinstance(value, list | dict) else _filled(item, row, name, folders)


@cache
def _place(path: Path, name: str) -> str:
    return path.stem if name == "@file" else path.absolute().parent.name


def _filled(item: Item, row: Row, name: str, folders: Mapping[str, str]) -> str:
    if name == "@videos":
        known = ", ".join(folders)
        return folders.get(item.path.stem) or _bad_row(
            f"no folder of videos is known for a file named {item.path.stem!r}, expected one of {known}"
        )
    if name == "@row":
        return str(item.row)
    if name[0] == "@":
        return _place(item.path, name)
    value = row[name] if name in row else _at(row, steps_of(name))
    if isinstance(value, str):
        if not value.strip():
            _bad_row(f"{name} is empty")
        return value
    if value is ABSENT or value is None:
        _bad_row(f"{name} is missing")
    if isinstance(value, NUMBERS) and not isinstance(value, bool) and -LARGEST < value < LARGEST:
        return str(value)
    return _bad_row(f"{name}: got {short_repr(value)}, expected a text or a number below {LARGEST:.0e}")


def _lists_of(field: str) -> list[str]:
    """The lists of which a field takes the first item."""
    return [path.strip().removesuffix("[0]") for path in field.split("|") if path.strip().endswith("[0]")]


def _refuse_many(row: Row, name: str, kind: str) -> None:
    """A recipe that reads the first of a list of videos or images does not drop the others."""
    items = row.get(name)
    if isinstance(items, list) and len(items) > 1:
        _bad_row(f"{name}: got {len(items)} {kind}, expected one")


def _take_image(layout: Layout, labels: Mapping[str, str]) -> None:
    """The image as the path of a row without a video. Raises SampleError for a row with both."""
    image = layout.pop("image", None)
    if _is_empty(image):
        return
    if not _is_empty(layout.get("path")):
        _bad_row(f"{labels['path']}, {labels['image']}: got a video and an image, expected one of them")
    layout["path"] = image
    layout.setdefault("data_type", "image")


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _clean(layout: Layout, recipe: Recipe) -> None:
    """The video as a path, the question without place holders, the answer without tags, moments as spans."""
    for name in ("problem", "solution"):
        parts = layout.get(name)
        if type(parts) is list and any(isinstance(part, Mapping) and "text" in part for part in parts):
            layout[name] = _joined(parts)
    video, question, answer = layout.get("path"), layout.get("problem"), layout.get("solution")
    if recipe.rules.answer_in_tags and isinstance(answer, str):
        layout["solution"] = untagged(answer)
    if recipe.rules.moment_seconds and isinstance(moments := layout.get("evidence_spans"), list):
        layout["evidence_spans"] = [_span(moment, recipe.rules.moment_seconds) for moment in moments]
    if isinstance(video, dict):
        # {"video": path, "fps": …} as in verl, {"path": …, "bytes": …} as in Hugging Face datasets.
        if video.get("bytes"):
            label = _label(recipe.fields.video, "video")
            _bad_row(
                f"{label}: the bytes of the video are in the table, expected a path below the data root: "
                "`strive-data init TABLE.parquet --out FOLDER` writes the files, and a table with their paths"
            )
        video = layout["path"] = video.get("video") or video.get("image") or video.get("path")
    if recipe.rules.video_after and isinstance(video, str):
        _, found, path = video.partition(recipe.rules.video_after)
        if not found:
            label = _label(recipe.fields.video, "video")
            _bad_row(f"{label}: got {short_repr(video)}, expected {recipe.rules.video_after!r} in it")
        layout["path"] = path
    if recipe.rules.strip and isinstance(question, str):
        for holder in recipe.rules.strip:
            question = question.replace(holder, "")
        layout["problem"] = question.strip()


def untagged(answer: str) -> str:
    """What is between <answer> and </answer> where the text has them once, else all of it."""
    tagged = IN_TAGS.findall(answer)
    return tagged[0].strip() if len(tagged) == 1 else answer


def _joined(message: list[object]) -> str:
    """The text of a message in parts: [{"type": "video"}, {"type": "text", "text": …}]."""
    texts = [part["text"] for part in message if isinstance(part, Mapping) and "text" in part]
    return "\n".join(text for text in texts if isinstance(text, str))


def _span(moment: object, seconds: float) -> object:
    """[start, end] around a moment; what is no time stays as it is, for `question_of` to refuse."""
    time = moment.get("time") if isinstance(moment, Mapping) else moment
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < LARGEST:
        return moment
    return [max(time - seconds, 0.0), time + seconds]


def _parse_cells(layout: Layout, labels: Mapping[str, str]) -> None:
    """Lists in the cells of a table of texts: JSON, or options with | between them."""
    for name in ("options", "evidence_spans", "frame_times"):
        cell = layout.get(name)
        if not isinstance(cell, str):
            continue
        if cell.lstrip()[:1] in ("[", "{") or name != "options":
            layout[name] = _json_cell(cell, labels[name])
        else:
            layout[name] = [option.strip() for option in cell.split(SEPARATOR)]


# Texts between commas, as Python and so pandas write a list.
QUOTED = r"""(?:'(?:[^'\\]|\\['"\\nrt])*'|"(?:[^"\\]|\\['"\\nrt])*")"""
PYTHON_LIST = re.compile(rf"\[\s*{QUOTED}(?:\s*,\s*{QUOTED})*\s*\]")


def _json_cell(cell: str, label: str) -> object:
    if PYTHON_LIST.fullmatch(cell.strip()):
        return ast.literal_eval(cell.strip())
    try:
        value = json_value(cell.encode("utf-8", "surrogateescape"))
        if isinstance(value, SampleError):
            raise value
    except SampleError as error:
        _bad_row(f"{label}: got {short_repr(cell)}, expected a list as JSON: {error.message}")
    return value


def type_by_question(question: object, answer: object) -> str:
    """The type of a question without options: numerical where it asks "How many" and a number answers."""
    counts = isinstance(question, str) and HOW_MANY.search(question)
    numerical = counts and isinstance(answer, str) and is_number(answer)
    return "numerical" if numerical else "free-form"


def names_option(answer: object) -> bool:
    """Whether an answer is "B", "(B)" or "B. text": the options may be lines of the question."""
    return isinstance(answer, str) and bool(
        LETTER.fullmatch(answer.strip()) or OPTION.fullmatch(answer.strip())
    )


def _type_by_answer(layout: Layout) -> str:
    answer = layout.get("solution")
    if names_option(answer):
        _find_options(layout)
    if layout.get("options"):
        return "multiple choice"
    numerical = is_number(answer) if isinstance(answer, str) else isinstance(answer, int | float)
    return "numerical" if numerical else "free-form"


def _find_options(layout: Layout) -> None:
    """Options from the end of the question, where the row has none and the question two or more."""
    if layout.get("options"):
        return
    found: Layout = {"problem": layout.get("problem")}
    take_from_question(found)
    options = found.get("options")
    if isinstance(options, list) and len(options) > 1:
        layout.update(found)


def _label(text: str, name: str) -> str:
    """A field is called as the row calls it; a text made of several fields by the recipe's `name` for it."""
    if not HOLE.search(text):
        return text or name
    hole = HOLE.fullmatch(text)
    return hole[1] if hole else name


def _bad_row(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
