"""The plain row of a table → its Question in one pass, at about the cost of parsing it.

Most rows hold texts in named columns, options that are lettered in order or not at all, and an answer that is
a letter, an option, or a text. This file reads them. For any other row it gives None: `RecipeReader` and
`question_of` read that one, and they alone know what to refuse and why. Where both give a question it is the
same one.
"""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from operator import add
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
    NO_OPTION,
    count_in,
    letter_of_index,
    names_option,
    options_by_letter,
    options_of_columns,
)
from strive_data.annotations.numbers import is_number
from strive_data.annotations.question import NO_ANSWER, FieldError, is_writable, spans_of
from strive_data.annotations.rows import Item
from strive_data.annotations.videos import VideoFolder, is_image
from strive_data.common.text import is_finite_number
from strive_data.errors import SampleError
from strive_data.schema import PROBLEM_TYPES, Question

LETTERS = [*ascii_uppercase]
MARKS = [f"{letter}. " for letter in LETTERS]
BEHIND_LETTER = (".", ")", ":")
TYPES = {name: name for name in PROBLEM_TYPES}
BY_RULE = ("by options", "by question", "by answer")
# A row without one of these is none, so that "{column}" and "column" read the same.
NEEDED = ("id", "video", "question", "answer")
ESCAPE = ord("\\")
OPEN, CLOSE = "<answer>", "</answer>"
LETTER_OF = {
    f"{before}{letter}{behind}": letter for before, behind in (("", ""), (OPEN, CLOSE)) for letter in LETTERS
}
# The constructor of a frozen dataclass takes as long as all of the rest: five times that of an open one.
_Open: Any = make_dataclass("_Open", [field.name for field in fields(Question)], slots=True)


class PlainReader:
    """Reads the plain rows of one file by the recipe of `reader`."""

    def __init__(self, reader: RecipeReader, videos: VideoFolder) -> None:
        recipe, rule = reader.recipe, reader.recipe.problem_type
        texts = vars(recipe.fields) | {"problem_type": rule.field}
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
        self._columns = [column or f"\0{name}" for name, column in columns.items()]
        self._data_type = columns["data_type"] or "\0data_type"
        self._as_text = texts["answer"].startswith("{")
        self._refuses = bool(recipe.rules.video_after or reader.lists)
        self._rules, self._words, self._otherwise = recipe.rules, rule.words, rule.otherwise
        self._absent = rule.absent or rule.otherwise
        self._labels, self._videos = reader.labels, videos
        # What repeats, by how it is written: videos with their data type, and sources.
        self._found: dict[str, tuple[str, str]] = {}
        self._sources: dict[str, str] = {}

    def question(self, item: Item) -> Question | None:
        """The question of a plain row; None for a row that is to be read by the full rules."""
        row = item.value
        if type(row) is not dict or self._refuses or item.turn:
            return None
        try:
            if self._moved:
                found = [(name, get(item, row)) for name, get in self._moved]
                row = row | {name: value for name, value in found if value is not ABSENT}
            return self._question(row, item.raw)
        except (SampleError, FieldError):
            return None

    def _question(self, row: Row, raw: bytes) -> Question | None:
        # In the order of `Fields`.
        name, path, text, answer, options, evidence, source, data_type, image, fps, times, word = map(
            row.get, self._columns
        )
        if type(path) is not str or type(text) is not str or (image is not None and image != ""):
            return None
        if fps is not None or times is not None or (evidence and self._rules.moment_seconds):
            return None
        if type(name) is int and -LARGEST < name < LARGEST:
            name = str(name)
        elif type(name) is not str or not name.isprintable() or name[:1] in ("", " "):
            return None
        video, kind = self._found.get(path) or self._find(path)
        if data_type != kind and (data_type is not None or self._data_type in row):
            return None
        for holder in self._rules.strip:
            text = text.removeprefix(holder).removesuffix(holder)
            if holder in text or text[:1] in ",;'’":  # within the question
                return None
        text = text.strip()
        if type(answer) is not str:
            said = self._number(answer)
        else:
            said = untagged(answer).strip() if self._rules.answer_in_tags else answer.strip()
        try:
            written = [*map(str.strip, options if type(options) is list else self._listed(options, row))]
        except TypeError:
            return None
        if not text or not said:
            return None
        # JSON without an escape holds nothing that cannot be written.
        if (ESCAPE in raw or not raw or self._moved) and not is_writable("".join([text, said, *written])):
            return None
        problem_type = self._kind(word)
        if problem_type == "multiple choice" or (written and problem_type in BY_RULE):
            problem_type = "multiple choice"
            choices, right = self._choices(written, said)
        elif type(answer) is str or self._as_text:
            problem_type = _open_type(problem_type, text, said)
            choices, right = tuple(written), _answer(problem_type, said)
        else:
            return None
        if not right:
            return None
        if source is not None:
            source = self._source(source)
        spans = () if evidence is None else spans_of(evidence)
        made = _Open(name, video, text, right, problem_type, choices, source or "", spans, 0.0, ())
        made.__class__ = Question
        return made  # type: ignore[no-any-return]  # has just become one

    def _find(self, path: str) -> tuple[str, str]:
        clean = path.strip()
        if not clean or not is_writable(clean):
            raise FieldError("path", "")
        video = self._videos.find(clean, label=self._labels.get("path", "path"))
        found = self._found[path] = video, "image" if is_image(clean) else "video"
        return found

    def _source(self, source: object) -> str:
        if type(source) is not str or (source and not source.strip()) or not is_writable(source):
            raise FieldError("data_source", "")
        return self._sources.setdefault(source, source.strip())

    def _number(self, answer: object) -> str:
        """A number as the text of an answer where the recipe reads it so; "" for any other value."""
        known = self._as_text or (self._rules.answer == "index" and type(answer) is int)
        return str(answer) if known and is_finite_number(answer) else ""

    def _listed(self, options: object, row: Row) -> list[Any]:
        """Options that are no list: in columns of their own, by their letters, or none."""
        if options is None:
            columns = self._rules.option_columns
            return options_of_columns(row, columns) if columns else []
        if type(options) is not dict or self._rules.options != "any":
            raise FieldError("options", "")
        return options_by_letter(options, "")

    def _kind(self, word: object) -> str:
        """What the recipe's rule makes of a row's word for its type; "" where only the full rules know it."""
        if type(word) is not str:
            return "" if word is not None else self._absent
        return self._words.get(word.casefold(), self._otherwise) if self._words else TYPES.get(word, "")

    def _choices(self, written: list[str], answer: str) -> tuple[tuple[str, ...], str]:
        """Options "A. text" and the letter of the right one; "" for what the full rules are to judge."""
        count, first, rule = len(written), written[0] if written else "", self._rules.answer
        if not 2 <= count <= len(LETTERS) or "" in written or written[-1] in NO_OPTION:
            return (), ""
        texts = written
        if first[:3] == "A. ":
            for mark, option in zip(MARKS, written, strict=False):
                if option[:3] != mark or option[3].isspace():
                    return (), ""
            options = tuple(written)
            if rule in ("option", "text"):
                texts = [option[3:] for option in written]
        elif self._rules.options == "any" and first[0] != "(" and first[1:2] not in BEHIND_LETTER:
            options = tuple(map(add, MARKS, written))
        else:
            return (), ""
        if rule == "index":
            letter = letter_of_index(answer, options, "")
        elif rule == "letter":
            letter = LETTER_OF.get(answer, "")
        elif answer in texts:
            sure = texts.count(answer) == 1 and (rule == "text" or not _may_name_letter(answer))
            letter = LETTERS[texts.index(answer)] if sure else ""
        elif rule == "text":
            letter = ""
        elif len(answer) == 1:
            letter = LETTER_OF.get(answer, "")
        else:
            letter = answer[0] if answer in options else ""
        return options, letter if letter <= LETTERS[count - 1] else ""


def _may_name_letter(answer: str) -> bool:
    """Whether an answer may be "A. text", "(A) text" or the like, or a letter alone."""
    return answer[0] == "(" or answer[1:2] in BEHIND_LETTER or (len(answer) == 1 and answer in LETTERS)


def _open_type(kind: str, text: str, answer: str) -> str:
    """The type of a question without options; "" where its answer may name one of them."""
    if kind == "by question":
        count = count_in(text, answer)
        full = names_option(answer) or (count and not is_number(answer))
        return "" if full else "numerical" if count else "free-form"
    return "free-form" if kind == "by options" else kind


def _answer(problem_type: str, answer: str) -> str:
    """The answer to an open question; "" where the full rules are to judge."""
    if answer.startswith(OPEN) and answer.endswith(CLOSE):
        answer = answer[len(OPEN) : -len(CLOSE)].strip()
    if OPEN in answer or CLOSE in answer or answer.lower() in NO_ANSWER or not answer:
        return ""
    if problem_type in ("numerical", "regression"):
        return answer if is_number(answer) else ""
    if problem_type == "free-form":
        return answer if answer[0].isalnum() else ""
    return answer if problem_type == "OCR" else ""
