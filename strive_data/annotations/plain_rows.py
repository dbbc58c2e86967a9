"""The plain rows of a table → their questions, a block of rows at a time, at about the cost of parsing them.

Most rows hold texts in named columns, options that are lettered in order or not at all, and an answer that is
a letter, an option, or a text. This file reads them, column by column. For any other row it gives None:
`RecipeReader` and `question_of` read that one, and they alone know what to refuse and why. Where both give a
question it is the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, make_dataclass
from itertools import chain, compress, repeat
from string import ascii_uppercase
from typing import Any, TypeVar

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
    letter_of_index,
    may_hold_options,
    names_option,
    options_by_letter,
    options_of_columns,
)
from strive_data.annotations.json_values import or_error
from strive_data.annotations.numbers import count_in, is_number
from strive_data.annotations.question import NO_ANSWER, FieldError, is_writable, spans_of
from strive_data.annotations.rows import Block
from strive_data.annotations.videos import VideoFolder, is_image
from strive_data.common.text import is_finite_number
from strive_data.errors import SampleError
from strive_data.schema import PROBLEM_TYPES, Question

LETTERS = [*ascii_uppercase]
MARKS = [f"{letter}. " for letter in LETTERS]
# "A. text", which has no blank at its fourth place, is between these two.
FIRST_MARKED, BEHIND_MARKED = ([f"{letter}{sign}" for letter in LETTERS] for sign in (". !", ".!"))
BEHIND_LETTER = (".", ")", ":")
TYPES = {name: name for name in PROBLEM_TYPES}
BY_RULE = ("by options", "by question", "by answer")
# A row without one of these is none, so that "{column}" and "column" read the same.
NEEDED = ("id", "video", "question", "answer")
OPEN, CLOSE = "<answer>", "</answer>"
LETTER_OF = {
    f"{before}{letter}{behind}": letter for before, behind in (("", ""), (OPEN, CLOSE)) for letter in LETTERS
}
T = TypeVar("T")
# Questions by the places of their rows in the block.
Placed = Iterator[tuple[int, Question]]
# The constructor of a frozen dataclass takes as long as all of the rest: five times that of an open one.
_Open: Any = make_dataclass("_Open", [field.name for field in fields(Question)], slots=True)


class _Columns(dict[str, list[Any]]):
    """Columns of the rows that are plain so far."""

    def keep(self, wanted: Sequence[object]) -> None:
        """Leave out the rows for which `wanted` has nothing true."""
        if not all(wanted):
            for name, column in self.items():
                self[name] = [*compress(column, wanted)]

    def by(self, keys: Sequence[T]) -> Iterator[tuple[T, _Columns]]:
        """The rows of each key."""
        for key in {*keys}:
            part = _Columns(self)
            part.keep([other == key for other in keys])
            yield key, part


class PlainReader:
    """Reads the plain rows of one file by the recipe of `reader`. `seen` are the columns of all its rows."""

    def __init__(self, reader: RecipeReader, videos: VideoFolder) -> None:
        recipe, rule = reader.recipe, reader.recipe.problem_type
        texts = vars(recipe.fields) | {"problem_type": rule.field}
        self._columns = {
            name: "" if text[:1] == "{" and name not in NEEDED else column_of(text)
            for name, text in texts.items()
        }
        # Values that are not one column.
        self._getters = {
            name: getter(text, recipe.video_folders)
            for name, text in texts.items()
            if text and not self._columns[name]
        }
        self._as_text = texts["answer"].startswith("{")
        self._refuses = bool(recipe.rules.video_after or reader.lists)
        self._rules, self._words, self._otherwise = recipe.rules, rule.words, rule.otherwise
        self._absent = rule.absent or rule.otherwise
        self._labels, self._videos = reader.labels, videos
        # What repeats, by how it is written: videos with their data type, sources, words for a type, and the
        # first two characters of options.
        self._found: dict[str, tuple[str, str] | None] = {}
        self._sources: dict[str | None, str | None] = {}
        self._kinds: dict[str | None, str] = {}
        self._heads: dict[str, bool] = {}
        self.seen = set[str]()

    def questions(self, block: Block) -> Sequence[Question | None]:
        """The question of each plain row; None for a row that is to be read by the full rules."""
        size = len(block.value)
        of = _Columns(place=[*range(size)], row=[*block.value])
        of.keep([type(row) is dict for row in of["row"]])
        self.seen.update(*of["row"])
        if self._refuses or any(block.turn):
            return [None] * size
        for name in self._columns:
            self._take(name, of, block)
        self._find_videos(of)
        self._clean(of)
        found = dict(chain.from_iterable(self._judged(of)))
        return [*map(found.get, range(size))]

    def _take(self, name: str, of: _Columns, block: Block) -> None:
        """Add the column of a field, and keep the rows whose value may be a plain one."""
        column, default = self._columns[name], ABSENT if name == "data_type" else None
        if name in self._getters:
            pairs = zip(map(block.item, of["place"]), of["row"], strict=True)
            of[name] = [or_error(self._getters[name], item, row) for item, row in pairs]
            of.keep([not isinstance(value, SampleError) for value in of[name]])
            of[name] = [default if value is ABSENT else value for value in of[name]]
        elif column and column in self.seen:
            of[name] = [row.get(column, default) for row in of["row"]]
        else:
            of[name] = [default] * len(of["row"])
            if name not in NEEDED:
                return
        if name in ("video", "question"):
            of.keep([type(value) is str for value in of[name]])
        elif name in ("source", "problem_type"):
            of.keep([value is None or type(value) is str for value in of[name]])
        elif name in ("image", "fps", "frame_times"):
            of.keep([value is None or (value == "" and name == "image") for value in of[name]])
        elif name == "id":
            of[name] = [
                str(value) if type(value) is int and -LARGEST < value < LARGEST else value
                for value in of[name]
            ]
            # No printable character but a blank comes before "!".
            of.keep([type(value) is str and value >= "!" and value.isprintable() for value in of[name]])

    def _find_videos(self, of: _Columns) -> None:
        of["video"] = _by_value(self._found, self._find, of["video"])
        of.keep(of["video"])
        pairs = zip(of["data_type"], of["video"], strict=True)
        of.keep([given is ABSENT or given == kind for given, (_, kind) in pairs])
        of["video"] = [video for video, _ in of["video"]]

    def _clean(self, of: _Columns) -> None:
        """Questions and answers as texts without place holders and tags, options as lists of texts."""
        joined = "".join(of["question"])
        for holder in self._rules.strip:
            if holder in joined:
                of["question"] = [text.removeprefix(holder).removesuffix(holder) for text in of["question"]]
                # Within the question it is for the full rules.
                of.keep([holder not in text and text[:1] not in ",;'’" for text in of["question"]])
        of["question"] = [text.strip() for text in of["question"]]
        said = [value if type(value) is str else self._number(value) for value in of["answer"]]
        joined = "".join(said)
        if self._rules.answer_in_tags and ("<" in joined or "\\" in joined):
            said = [LETTER_OF.get(text) or untagged(text) for text in said]
        of["said"] = [*map(str.strip, said)]
        of.keep([text and said for text, said in zip(of["question"], of["said"], strict=True)])
        of["options"] = [
            value if type(value) is list else self._listed(value, row)
            for value, row in zip(of["options"], of["row"], strict=True)
        ]
        try:
            joined = "".join([*of["question"], *of["said"], *chain(*of["options"])])
        except TypeError:
            of.keep([{*map(type, options)} <= {str} for options in of["options"]])
            joined = "\0"
        if not joined.isascii() or "\0" in joined:
            rows = zip(of["question"], of["said"], of["options"], strict=True)
            of.keep([is_writable("".join([text, said, *options])) for text, said, options in rows])

    def _judged(self, of: _Columns) -> Iterator[Placed]:
        """The questions, each kind of row after the other."""
        of["source"] = _by_value(self._sources, _source, of["source"])
        of["spans"] = [() if value is None else self._spans(value) for value in of["evidence_spans"]]
        for name in ("source", "spans"):
            of.keep([value is not None for value in of[name]])
        of["kind"] = _by_value(self._kinds, self._kind, of["problem_type"])
        # How many options a multiple choice has; 0 for any other question.
        counts = [
            len(options) or 1 if kind == "multiple choice" or (options and kind in BY_RULE) else 0
            for kind, options in zip(of["kind"], of["options"], strict=True)
        ]
        for count, part in of.by(counts):
            if count != 1 and count <= len(LETTERS):
                yield from self._choices(part) if count else [self._open(part)]

    def _find(self, path: str) -> tuple[str, str] | None:
        """The video and its data type."""
        clean = path.strip()
        if not clean or not is_writable(clean):
            return None
        try:
            video = self._videos.find(clean, label=self._labels.get("path", "path"))
        except SampleError:
            return None
        return video, "image" if is_image(clean) else "video"

    def _number(self, answer: object) -> str:
        """A number as the text of an answer where the recipe reads it so; "" for any other value."""
        known = self._as_text or (self._rules.answer == "index" and type(answer) is int)
        return str(answer) if known and is_finite_number(answer) else ""

    def _listed(self, options: object, row: Row) -> list[Any]:
        """Options that are no list: in columns of their own, by their letters, or none."""
        try:
            if options is None:
                columns = self._rules.option_columns
                return options_of_columns(row, columns) if columns else []
            if type(options) is dict and self._rules.options == "any":
                return [*options_by_letter(options, "")]
        except SampleError:
            pass
        return [None]  # which is no text

    def _kind(self, word: str | None) -> str:
        """What the recipe's rule makes of a row's word for its type; "" where only the full rules know it."""
        if word is None:
            return self._absent
        return self._words.get(word.casefold(), self._otherwise) if self._words else TYPES.get(word, "")

    def _spans(self, evidence: object) -> object:
        try:
            return None if evidence and self._rules.moment_seconds else spans_of(evidence)
        except FieldError:
            return None

    def _choices(self, of: _Columns) -> Iterator[Placed]:
        """Multiple choice with one number of options, which become "A. text", and the answer a letter."""
        columns = [[*map(str.strip, column)] for column in zip(*of["options"], strict=True)]
        written = options = texts = [*zip(*columns, strict=True)]
        heads = [first[:2] for first in columns[0]]
        marked = [head == "A." for head in heads]
        if len({*marked}) > 1:
            for _, part in of.by(marked):
                yield from self._choices(part)
            return
        if all(marked):
            pairs = zip(columns, FIRST_MARKED, BEHIND_MARKED, strict=False)
            flags = (
                [low <= one < high and (one.isascii() or not one[3].isspace()) for one in column]
                for column, low, high in pairs
            )
            plain = [*map(all, zip(*flags, strict=True))]
            if self._rules.answer in ("option", "text"):
                texts = [tuple([option[3:] for option in row]) for row in written]
        else:
            plain = _by_value(self._heads, self._may_begin, heads)
            if NO_OPTION[1] in columns[-1] or any("" in column for column in columns):
                full = ["" not in row and row[-1] not in NO_OPTION for row in written]
                plain = [*map(min, plain, full)]
            # No text has a NUL (`_clean`), and to split one long text is the fastest way to make many.
            lettered = (
                (mark + f"\0{mark}".join(column)).split("\0")
                for mark, column in zip(MARKS, columns, strict=False)
            )
            options = [*zip(*lettered, strict=True)]
        of["options"], of["texts"] = options, texts
        of.keep(plain)
        of["right"] = [*map(self._letter, of["said"], of["texts"], of["options"])]
        of["kind"] = ["multiple choice"] * len(of["right"])
        yield _made(of)

    def _may_begin(self, head: str) -> bool:
        """Whether an option that begins so has no letter, and is to get one."""
        return self._rules.options == "any" and head[:1] not in ("(", "") and head[1:] not in BEHIND_LETTER

    def _letter(self, answer: str, texts: Sequence[str], options: Sequence[str]) -> str:
        """The letter of the right option; "" for what the full rules are to judge."""
        rule, letter = self._rules.answer, ""
        if rule == "letter":
            letter = LETTER_OF.get(answer, "")
        elif rule == "index":
            found = or_error(letter_of_index, answer, options, "")
            letter = found if isinstance(found, str) else ""
        elif answer in texts:
            if texts.count(answer) == 1 and (rule == "text" or not _may_name_letter(answer)):
                letter = LETTERS[texts.index(answer)]
        elif rule == "option" and (len(answer) == 1 or answer in options):
            letter = LETTER_OF.get(answer[0], "")
        return letter if letter <= LETTERS[len(options) - 1] else ""

    def _open(self, of: _Columns) -> Placed:
        """Questions that are no multiple choice."""
        of["options"] = [(*map(str.strip, options),) for options in of["options"]]
        of["kind"] = [*map(_open_type, of["kind"], of["question"], of["said"])]
        of["right"] = [
            _answer(kind, said) if type(answer) is str or self._as_text else ""
            for kind, said, answer in zip(of["kind"], of["said"], of["answer"], strict=True)
        ]
        return _made(of)


def _made(of: _Columns) -> Placed:
    """The questions of those rows that have a right answer, by their places."""
    of.keep(of["right"])
    names = ("id", "video", "question", "right", "kind", "options", "source", "spans")
    made = [*map(_Open, *(of[name] for name in names), repeat(0.0), repeat(()))]
    for one in made:
        one.__class__ = Question
    return zip(of["place"], made, strict=True)


def _by_value(known: dict[Any, Any], read: Callable[[Any], object], column: Sequence[Any]) -> list[Any]:
    """What `read` makes of each value, read once; `known` has the earlier ones."""
    for value in dict.fromkeys(column):
        if value not in known:
            known[value] = read(value)
    return [*map(known.__getitem__, column)]


def _source(value: str | None) -> str | None:
    """A source without blanks around it; None for what the full rules are to judge."""
    source = (value or "").strip()
    return source if bool(source) == bool(value) and is_writable(source) else None


def _may_name_letter(answer: str) -> bool:
    """Whether an answer may be "A. text", "(A) text" or the like, or a letter alone."""
    return answer[0] == "(" or answer[1:2] in BEHIND_LETTER or (len(answer) == 1 and answer in LETTERS)


def _open_type(kind: str, text: str, answer: str) -> str:
    """The type of a question without options; "" where it may hold some, or its answer name one."""
    if kind == "by question":
        count = count_in(text, answer)
        full = names_option(answer) or may_hold_options(text) or (count and not is_number(answer))
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
