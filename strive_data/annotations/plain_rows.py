"""The plain row of a table → its Question in one pass, at about the cost of parsing it.

Most rows hold texts in named columns, options that are lettered in order or not at all, and an answer that is
a letter, an option, or a text. This file reads them. For any other row it gives None: `RecipeReader` and
`question_of` read that one, and they alone know what to refuse and why. Where both give a question it is the
same one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from string import ascii_uppercase
from typing import Any

from strive_data.annotations.apply_recipe import (
    ABSENT,
    LARGEST,
    RecipeReader,
    Row,
    column_of,
    getter,
    untagged,
)
from strive_data.annotations.choices import (
    letter_of_index,
    names_option,
    options_by_letter,
    options_of_columns,
    type_by_question,
)
from strive_data.annotations.numbers import is_number
from strive_data.annotations.question import NO_ANSWER, FieldError, is_writable, spans_of
from strive_data.annotations.rows import Item
from strive_data.annotations.videos import VideoFolder, is_image
from strive_data.errors import SampleError
from strive_data.schema import PROBLEM_TYPES, Question

LETTERS = [*ascii_uppercase]
MARKS = [f"{letter}. " for letter in LETTERS]
TYPES = {name: name for name in PROBLEM_TYPES}
# A row without one of these is none, so that "{column}" and "column" read the same.
NEEDED = ("id", "video", "question", "answer")
OPEN, CLOSE = "<answer>", "</answer>"
# The constructor of a frozen dataclass takes as long as all of the rest: five times that of an open one.
_Open: Any = make_dataclass("_Open", [field.name for field in fields(Question)], slots=True)


class PlainReader:
    """Reads the plain rows of one file by the recipe of `reader`."""

    def __init__(self, reader: RecipeReader, videos: VideoFolder) -> None:
        recipe = self._recipe = reader.recipe
        texts = vars(recipe.fields) | {"problem_type": recipe.problem_type.field}
        columns = {
            name: "" if text[:1] == "{" and name not in NEEDED else column_of(text)
            for name, text in texts.items()
        }
        # Values that are not one column are put beside the row's columns, under names that no column has.
        self._moved = [
            (f"\0{name}", getter(text, recipe.video_folders))
            for name, text in texts.items()
            if text and not columns[name]
        ]
        self._column = {name: column or f"\0{name}" for name, column in columns.items()}
        self._as_text = texts["answer"].startswith("{")
        self._refuses = bool(recipe.rules.video_after or reader.lists)
        self._labels, self._videos = reader.labels, videos
        self._found: dict[str, tuple[str, str]] = {}
        self._words = recipe.problem_type.words
        c = self._column
        self._first = c["id"], c["video"], c["question"], c["answer"], c["options"], c["problem_type"]
        self._rest = c["evidence_spans"], c["source"], c["data_type"], c["image"], c["fps"], c["frame_times"]

    def question(self, item: Item) -> Question | None:
        """The question of a plain row; None for a row that is to be read by the full rules."""
        row = item.value
        if type(row) is not dict or self._refuses:
            return None
        try:
            if self._moved:
                found = [(name, get(item, row)) for name, get in self._moved]
                row = row | {name: value for name, value in found if value is not ABSENT}
            return self._question(row)
        except (SampleError, FieldError):
            return None

    def _question(self, row: Row) -> Question | None:
        get = row.get
        name, path, text, answer, options, word = map(get, self._first)
        evidence, source, data_type, image, fps, times = map(get, self._rest)
        if type(path) is not str or type(text) is not str or (image is not None and image != ""):
            return None
        if fps is not None or times is not None or (evidence and self._recipe.rules.moment_seconds):
            return None
        video, kind = self._found.get(path) or self._find(path)
        if data_type != kind and (data_type is not None or self._column["data_type"] in row):
            return None
        for holder in self._recipe.rules.strip:
            text = text.removeprefix(holder).removesuffix(holder)
            if holder in text:  # within the question
                return None
        text = text.strip()
        if type(answer) is str:
            said = untagged(answer) if self._recipe.rules.answer_in_tags else answer
        else:
            said = self._number(answer)
        written = self._options(options, row)
        if not text or not said or written is None or not is_writable("".join((text, said, *written))):
            return None
        problem_type = self._type(word, text, said, written)
        if problem_type == "multiple choice":
            chosen = self._choices(written, said)
            if chosen is None:
                return None
            choices, right = chosen
        elif type(answer) is str or self._as_text:
            choices, right = tuple(written), _answer(problem_type, said)
        else:
            return None
        sample_id = _sample_id(name)
        if not right or not sample_id:
            return None
        source = "" if source is None else self._source(source)
        spans = () if evidence is None else spans_of(evidence)
        made = _Open(sample_id, video, text, right, problem_type, choices, source, spans, 0.0, ())
        made.__class__ = Question
        return made  # type: ignore[no-any-return]  # has just become one

    def _find(self, path: str) -> tuple[str, str]:
        """The video of a path and its data type; looked up once for each path as it is written."""
        clean = path.strip()
        if not clean or not is_writable(clean):
            raise FieldError("path", "")
        video = self._videos.find(clean, label=self._labels.get("path", "path"))
        found = self._found[path] = video, "image" if is_image(clean) else "video"
        return found

    def _number(self, answer: object) -> str:
        """A number as the text of an answer where the recipe reads it so; "" for any other value."""
        known = self._as_text or (self._recipe.rules.answer == "index" and type(answer) is int)
        return str(answer) if known and _is_plain_number(answer) else ""

    def _options(self, options: object, row: Row) -> list[str] | None:
        """The options as they are written, stripped; None where they are no texts."""
        rules = self._recipe.rules
        if options is None:
            if not rules.option_columns:
                return []
            options = options_of_columns(row, rules.option_columns)
        elif type(options) is dict and rules.options == "any":
            options = options_by_letter(options, "")
        try:
            return [*map(str.strip, options)] if type(options) is list else None
        except TypeError:
            return None

    def _type(self, word: object, text: str, answer: str, options: Sequence[str]) -> str:
        """The problem type; "" where only the full rules know it."""
        rule = self._recipe.problem_type
        kind: str = rule.otherwise
        if word is None:
            kind = rule.absent or kind
        elif type(word) is not str:
            return ""
        elif not self._words:
            return TYPES.get(word, "")
        else:
            kind = self._words.get(word.casefold(), kind)
        if kind in TYPES:
            return TYPES[kind]
        if options and kind:
            return "multiple choice"
        if kind == "by question":
            return "" if names_option(answer) else type_by_question(text, answer)
        return "free-form" if kind == "by options" else ""

    def _choices(self, written: list[str], answer: str) -> tuple[tuple[str, ...], str] | None:
        """Options "A. text" and the letter of the right one; None for what the full rules are to judge."""
        count, first = len(written), written[0] if written else ""
        rules = self._recipe.rules
        if not 2 <= count <= len(LETTERS) or "" in written:
            return None
        if first[:3] == "A. " and [option[:3] for option in written] == MARKS[:count]:
            options, texts = tuple(written), [option[3:] for option in written]
            if [*map(str.strip, texts)] != texts:
                return None
        elif rules.options == "any" and (len(first) == 1 or not _may_be_lettered(first)):
            options, texts = tuple(map(str.__add__, MARKS, written)), written
        else:
            return None
        if rules.answer == "index":
            return options, letter_of_index(answer, options, "")
        letter = _letter(rules.answer, answer.strip(), options, texts)
        return (options, letter) if letter else None

    def _source(self, source: object) -> str:
        if type(source) is not str or (source and not source.strip()) or not is_writable(source):
            raise FieldError("data_source", "")
        return sys.intern(source.strip())


def _sample_id(name: object) -> str:
    if type(name) is str:
        return name if name.isprintable() and name[:1] != " " else ""
    return str(name) if type(name) is int and _is_plain_number(name) else ""


def _is_plain_number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST < value < LARGEST  # type: ignore[operator]  # a number


def _may_be_lettered(option: str) -> bool:
    """Whether a text may be "A. text", "(A) text" or the like, or a letter in one of these forms."""
    return option[0] == "(" or option[1:2] in (".", ")", ":") or option in LETTERS


def _letter(rule: str, answer: str, options: Sequence[str], texts: list[str]) -> str:
    """The letter of the one option that the answer names exactly; "" where the full rules are to judge."""
    if rule == "letter":
        letter = _unwrapped(answer)
        return letter if letter in LETTERS[: len(options)] else ""
    named = texts.count(answer)
    if rule == "text":
        return LETTERS[texts.index(answer)] if named == 1 else ""
    if named:
        return LETTERS[texts.index(answer)] if named == 1 and not _may_be_lettered(answer) else ""
    return answer[0] if answer in options or answer in LETTERS[: len(options)] else ""


def _answer(problem_type: str, answer: str) -> str:
    """The answer to an open question; "" where the full rules are to judge."""
    answer = _unwrapped(answer.strip())
    if OPEN in answer or CLOSE in answer or answer.lower() in NO_ANSWER or not answer:
        return ""
    if problem_type in ("numerical", "regression"):
        return answer if is_number(answer) else ""
    if problem_type == "free-form":
        return answer if answer[0].isalnum() else ""
    return answer if problem_type == "OCR" else ""


def _unwrapped(answer: str) -> str:
    wrapped = answer.startswith(OPEN) and answer.endswith(CLOSE)
    return answer[len(OPEN) : -len(CLOSE)].strip() if wrapped else answer
