"""One row of any data set, read by its recipe → a row in the Video-R1 layout, which `question_of` checks.

Values are moved, chosen and lettered, never guessed: a value that no rule foresees makes a bad row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NoReturn

from strive_data.annotations.choices import (
    Layout,
    find_options,
    options_by_letter,
    options_of_columns,
    parse_cells,
    read_choices,
    texts_of,
    type_by_answer,
)
from strive_data.annotations.numbers import read_count
from strive_data.annotations.recipes import HOLE, Recipe, Step, steps_of
from strive_data.annotations.rows import Item
from strive_data.common.text import short_repr
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import PROBLEM_TYPES

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
IN_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
BOXED = re.compile(r"\s*\$*\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}\$*\s*")
# A place holder that is a part of a sentence: "In <video>, who …?".
IN_SENTENCE = {
    holder: re.compile(rf"(?<!video )(?<!image )((?<=[^\s>.?!:] ){holder}(?!\s*(?:\n|$))|{holder}(?=[,;'’]))")
    for holder in ("<video>", "<image>")
}
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
    """Reads rows by one recipe. `labels` has the names that the data set's own rows use, for messages;
    `guesses`, how values were read that do not say it themselves; `counts`, answers to "How many …?" that are
    no number as they are written; `lettered`, questions whose options were found in their text."""

    def __init__(self, recipe: Recipe) -> None:
        fields = {name: text for name, text in vars(recipe.fields).items() if text}
        self.recipe, self.guesses, self.counts = recipe, set[str](), Counter[str]()
        self.lettered = 0
        self.labels = {LAYOUT[name]: _label(text, name) for name, text in fields.items()}
        if self.labels[LAYOUT["question"]] == self.labels[LAYOUT["answer"]]:
            self.labels |= {
                LAYOUT[name]: f"the {name} in {self.labels[LAYOUT[name]]}" for name in ("question", "answer")
            }
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
                layout[name] = _with_turn(found, item) if name == "problem_id" else found
        rules = self.recipe.rules
        if self.recipe.fields.image and "image" in layout:
            _take_image(layout, self.labels)
        if rules.option_columns and layout.get("options") is None:
            layout["options"] = options_of_columns(row, rules.option_columns)
        if rules.options == "any" and (given := layout.get("options")):
            layout["options"] = texts_of(given)
        _clean(layout, self.recipe, self.guesses)
        parse_cells(layout, self.labels, self.guesses)
        options = layout.get("options")
        if rules.options == "any" and isinstance(options, dict):
            layout["options"] = options_by_letter(options, self.labels["options"])
        given = layout.get("options")
        self._set_type(item, row, layout)
        self.lettered += bool(layout.get("options")) and not given
        if layout.get("problem_type") == "multiple choice":
            read_choices(layout, rules, self.labels)
        elif layout.get("problem_type") == "numerical" and (count := read_count(layout)):
            self.counts[count] += 1
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
                known[name] = _with_turn(value, item) if name == "problem_id" else value
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
            layout["problem_type"] = type_by_answer(layout, self.recipe.rules) if kind == BY_ANSWER else kind
            if rule.absent and kind == "multiple choice":
                find_options(layout)
        elif otherwise == "by options":
            layout["problem_type"] = "multiple choice" if layout.get("options") else "free-form"
        elif otherwise in ("by question", BY_ANSWER):
            layout["problem_type"] = type_by_answer(
                layout, self.recipe.rules, counts_only=otherwise != BY_ANSWER
            )
        elif otherwise:
            layout["problem_type"] = otherwise
        elif isinstance(word, str):
            label = self.labels["problem_type"]
            _bad_row(f"{label}: got {short_repr(word)}, expected one of {', '.join(known)}")
        elif word is not ABSENT:
            layout["problem_type"] = word

    def is_guess(self, item: Item) -> bool:
        """Whether a row with a place for its type does not name one there."""
        rule = self.recipe.problem_type
        word = self._word(item, item.value) if self._word and isinstance(item.value, dict) else ABSENT
        known = {*rule.words.values()} - {BY_ANSWER} or {*PROBLEM_TYPES}
        named = rule.words.get(word.casefold(), word) if isinstance(word, str) else ""
        return bool(rule.field) and "numerical" in known and named not in known


def _with_turn(sample_id: object, item: Item) -> object:
    """The id of a row, and of the question in it."""
    return f"{sample_id}{item.turn}" if item.turn and isinstance(sample_id, str | int) else sample_id


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
    if "|" not in text and len(steps_of(text)) == 1:
        return lambda item, row: row.get(text, ABSENT)
    return lambda item, row: _first_of(row, text)


def column_of(text: str) -> str:
    """The one column that a field is, by its name alone or in braces; "" where it is anything else."""
    hole = HOLE.fullmatch(text)
    name = hole[1] if hole else text
    return name if steps_of(name) == (name,) and name[0] != "@" and not HOLE.search(name) else ""


@cache
def _paths(text: str) -> list[tuple[str, tuple[Step, ...]]]:
    return [(path.strip(), steps_of(path.strip())) for path in text.split("|")]


def _first_of(row: Row, text: str) -> object:
    for path, steps in _paths(text):
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
                got = f"got {len(fits)} entries of {key} {wanted!r}"
                _bad_row(f"{got}, expected one, or an answer behind each question and no options beside them")
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
    value = row[name] if name in row else _first_of(row, name)
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


def _clean(layout: Layout, recipe: Recipe, guesses: set[str]) -> None:
    """The video as a path, the question without place holders, the answer without tags, moments as spans."""
    for name in ("problem", "solution"):
        parts = layout.get(name)
        if type(parts) is list and any(isinstance(part, Mapping) and "text" in part for part in parts):
            layout[name] = _joined(parts)
    question, answer = layout.get("problem"), layout.get("solution")
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], str):
        answer = layout["solution"] = answer[0]
    if recipe.rules.answer_in_tags and isinstance(answer, str):
        layout["solution"] = untagged(answer)
    if recipe.rules.moment_seconds and isinstance(moments := layout.get("evidence_spans"), list):
        layout["evidence_spans"] = [_span(moment, recipe.rules.moment_seconds) for moment in moments]
    _clean_video(layout, recipe)
    if recipe.rules.strip and isinstance(question, str):
        for holder in recipe.rules.strip:
            if holder in IN_SENTENCE and holder in question:
                question, replaced = IN_SENTENCE[holder].subn(f"the {holder.strip('<>')}", question)
                if replaced:
                    guesses.add(f'{holder} within a sentence read as "the {holder.strip("<>")}"')
            question = question.replace(holder, "")
        layout["problem"] = question.strip()


def _clean_video(layout: Layout, recipe: Recipe) -> None:
    """The video as a path."""
    video, label = layout.get("path"), _label(recipe.fields.video, "video")
    if isinstance(video, list) and len(video) == 1:
        video = layout["path"] = video[0]
    if isinstance(video, dict):
        # {"video": path, "fps": …} as in verl, {"path": …, "bytes": …} as in Hugging Face datasets.
        if video.get("bytes"):
            _bad_row(
                f"{label}: the bytes of the video are in the table, expected a path below the data root: "
                "`strive-data init TABLE.parquet --out FOLDER` writes the files, and a table with their paths"
            )
        video = layout["path"] = video.get("video") or video.get("image") or video.get("path")
    if isinstance(video, list) and len(video) > 1:
        _bad_row(
            f"{label}: got a list of {len(video)} files, {short_repr(video)}, expected one video; frames are "
            "read as the path of their folder, with their rate in a column fps"
        )
    if type(video) is int:
        video = layout["path"] = str(video)
    if recipe.rules.video_after and isinstance(video, str):
        _, found, path = video.partition(recipe.rules.video_after)
        if not found:
            _bad_row(f"{label}: got {short_repr(video)}, expected {recipe.rules.video_after!r} in it")
        layout["path"] = path


def untagged(answer: str) -> str:
    """What is between <answer> and </answer> where the text has them once, else all of it; without the
    \\boxed{} that is around all of that."""
    if "<answer>" in answer:
        tagged = IN_TAGS.findall(answer)
        answer = tagged[0].strip() if len(tagged) == 1 else answer
    boxed = BOXED.fullmatch(answer) if "\\boxed" in answer else None
    return boxed[1].strip() if boxed else answer


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


def _label(text: str, name: str) -> str:
    """A field is called as the row calls it, "videos or messages" where it may be in several places; a text
    made of several fields goes by the recipe's `name` for it."""
    if "|" in text and not HOLE.search(text):
        return " or ".join(dict.fromkeys(str(steps_of(path.strip())[0]) for path in text.split("|")))
    if not HOLE.search(text):
        return text or name
    hole = HOLE.fullmatch(text)
    return hole[1] if hole else name


def _bad_row(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
