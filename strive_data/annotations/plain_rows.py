"""The plain rows of a table → their questions, at about the cost of parsing them.

Most rows hold texts in named columns, options that are lettered in order or not at all, and an answer that is
a letter, an option, or a text. This file reads them. For any other row it gives None: `RecipeReader` and
`question_of` read that one, and they alone know what to refuse and why. Where both give a question it is the
same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass
from functools import cache, partial
from operator import add, le, lt
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
    COUNTED_FROM,
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
from strive_data.schema import PROBLEM_TYPES, Question, Span

LETTERS = [*ascii_uppercase]
MARKS = [f"{letter}. " for letter in LETTERS]
# "A. text", which has no blank at its fourth place, is between these two.
FIRST_MARKED, BEHIND_MARKED = ([f"{letter}{sign}" for letter in LETTERS] for sign in (". !", ".!"))
BEHIND_LETTER = (".", ")", ":")
BY_RULE = ("by options", "by question", "by answer")
# A row without one of these is none, so that "{column}" and "column" read the same.
NEEDED = ("id", "video", "question", "answer")
# What `_question` takes, and what a plain row has not.
TAKEN = (*NEEDED, "options", "evidence_spans", "source", "data_type", "problem_type")
NOT_PLAIN = ("image", "fps", "frame_times")
OPEN, CLOSE = "<answer>", "</answer>"
LETTER_OF = {
    f"{before}{letter}{behind}": letter for before, behind in (("", ""), (OPEN, CLOSE)) for letter in LETTERS
}
NO_ROW: Row = {}
# The constructor of a frozen dataclass takes as long as all of the rest: five times that of an open one.
_Open: Any = make_dataclass("_Open", [field.name for field in fields(Question)], slots=True)


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
        self._rules, self._absent = recipe.rules, rule.absent or rule.otherwise
        # What repeats is read once.
        self._find = cache(partial(_find, videos, reader.labels.get("path", "path")))
        self._kind = cache(partial(_kind, rule.words, rule.otherwise))
        self._source = cache(_source)
        self._may_begin = cache(partial(_may_begin, recipe.rules.options == "any"))
        self.seen = set[str]()

    def questions(self, block: Block) -> Sequence[Question | None]:
        """The question of each plain row; None for a row that is to be read by the full rules."""
        rows = [row if type(row) is dict else NO_ROW for row in block.value]
        self.seen.update(*rows)
        if self._refuses or any(block.turn):
            return [None] * len(rows)
        for name in NOT_PLAIN:
            if self._columns[name] in self.seen or name in self._getters:
                values = zip(rows, self._taken(name, rows, block), strict=True)
                empty = (None, "") if name == "image" else (None,)
                rows = [row if value in empty else NO_ROW for row, value in values]
        return [*map(self._question, *(self._taken(name, rows, block) for name in TAKEN))]

    def _taken(self, name: str, rows: Sequence[Row], block: Block) -> Sequence[Any]:
        """The values of a field."""
        column, default = self._columns[name], ABSENT if name == "data_type" else None
        values: list[object] = [default] * len(rows)
        if get := self._getters.get(name):
            values = [or_error(get, block.item(place), row) for place, row in enumerate(rows)]
            values = [default if value is ABSENT else value for value in values]
        elif column in self.seen:
            values = [row.get(column, default) for row in rows]
        if name == "options":
            pairs = zip(values, rows, strict=True)
            return [value if type(value) is list else self._listed(value, row) for value, row in pairs]
        return values

    def _question(
        self,
        sample_id: object,
        video: object,
        question: object,
        answer: object,
        options: list[Any],
        evidence: object,
        source: object,
        data_type: object,
        word: object,
    ) -> Question | None:
        if type(sample_id) is int and -LARGEST < sample_id < LARGEST:
            sample_id = str(sample_id)
        # No printable character but a blank comes before "!".
        if type(sample_id) is not str or sample_id < "!" or not sample_id.isprintable():
            return None
        if type(video) is not str or type(question) is not str:
            return None
        for holder in self._rules.strip:
            if holder in question:
                question = question.removeprefix(holder).removesuffix(holder)
                # Within the question it is for the full rules.
                if holder in question or question[:1] in ",;'’":
                    return None
        said = answer if type(answer) is str else self._number(answer)
        if self._rules.answer_in_tags and ("<" in said or "\\" in said):
            said = LETTER_OF.get(said) or untagged(said)
        question, said = question.strip(), said.strip()
        if not question or not said:
            return None
        try:
            texts = [*map(str.strip, options)]
        except TypeError:
            return None
        written = "".join([question, said, *texts])
        in_ascii = written.isascii()
        if ("\0" in written) if in_ascii else not is_writable(written):
            return None
        known = self._source(source) if type(source) is str else "" if source is None else None
        spans = () if evidence is None else self._spans(evidence)
        kind = self._absent if word is None else self._kind(word) if type(word) is str else ""
        if known is None or spans is None:
            return None
        if kind == "multiple choice" or (texts and kind in BY_RULE):
            kind, lettered = "multiple choice", self._lettered(texts, in_ascii)
            right = self._letter(said, texts, lettered) if lettered else ""
        else:
            kind, lettered = _open_type(kind, question, said), texts
            right = _answer(kind, said) if type(answer) is str or self._as_text else ""
        # Looked for last, as by the full rules: a row that is refused leaves no guess.
        if not right or not (found := self._find(video)) or data_type not in (ABSENT, found[1]):
            return None
        made: Question = _Open(
            sample_id, found[0], question, right, kind, tuple(lettered), known, spans, 0.0, ()
        )
        made.__class__ = Question
        return made

    def _number(self, answer: object) -> str:
        """A number as the text of an answer where the recipe reads it so; "" for any other value."""
        known = self._as_text or (self._rules.answer in COUNTED_FROM and type(answer) is int)
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

    def _spans(self, evidence: object) -> tuple[Span, ...] | None:
        try:
            return None if evidence and self._rules.moment_seconds else spans_of(evidence)
        except FieldError:
            return None

    def _lettered(self, texts: list[str], in_ascii: bool) -> list[str]:
        """The options of a multiple choice as "A. text"; [] where the full rules are to judge."""
        if not 1 < len(texts) <= len(LETTERS):
            return []
        head = texts[0][:2]
        if head == "A.":
            marked = all(map(le, FIRST_MARKED, texts)) and all(map(lt, texts, BEHIND_MARKED))
            return texts if marked and (in_ascii or not any(text[3].isspace() for text in texts)) else []
        full = "" not in texts and texts[-1] not in NO_OPTION
        return [*map(add, MARKS, texts)] if full and self._may_begin(head) else []

    def _letter(self, answer: str, texts: Sequence[str], options: Sequence[str]) -> str:
        """The letter of the right option; "" for what the full rules are to judge."""
        rule = self._rules.answer
        if texts is options and rule in ("option", "text"):
            texts = [option[3:] for option in options]
        letter = ""
        if rule == "letter":
            letter = LETTER_OF.get(answer, "")
        elif rule in COUNTED_FROM:
            found = or_error(letter_of_index, answer, options, "", COUNTED_FROM.index(rule))
            letter = found if isinstance(found, str) else ""
        elif answer in texts:
            if texts.count(answer) == 1 and (rule == "text" or not _may_name_letter(answer)):
                letter = LETTERS[texts.index(answer)]
        elif rule == "option" and (len(answer) == 1 or answer in options):
            letter = LETTER_OF.get(answer[0], "")
        return letter if letter <= LETTERS[len(options) - 1] else ""


def _find(videos: VideoFolder, label: str, path: str) -> tuple[str, str] | None:
    """The video and its data type."""
    clean = path.strip()
    if not clean or not is_writable(clean):
        return None
    try:
        video = videos.find(clean, label=label)
    except SampleError:
        return None
    return video, "image" if is_image(clean) else "video"


def _kind(words: Mapping[str, str], otherwise: str, word: str) -> str:
    """What the recipe's rule makes of a row's word for its type; "" where only the full rules know it."""
    return words.get(word.casefold(), otherwise) if words else word if word in PROBLEM_TYPES else ""


def _may_begin(unlettered: bool, head: str) -> bool:
    """Whether an option that begins so has no letter, and may get one."""
    return unlettered and head[:1] != "(" and head[1:] not in BEHIND_LETTER


def _source(value: str) -> str | None:
    """A source without blanks around it; None for what the full rules are to judge."""
    source = value.strip()
    return source if bool(source) == bool(value) and is_writable(source) else None


def _may_name_letter(answer: str) -> bool:
    """Whether an answer may be "A. text", "(A) text" or the like, or a letter alone."""
    return answer[0] == "(" or answer[1:2] in BEHIND_LETTER or answer in LETTERS


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
