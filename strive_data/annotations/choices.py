"""Options and answers of multiple choice, as data sets write them → "A. text" and the letter. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple, NoReturn

from strive_data.annotations.json_values import json_value
from strive_data.annotations.numbers import COUNTING, HOW_MANY, count_in, is_number
from strive_data.annotations.recipes import Rules
from strive_data.common.text import short_repr
from strive_data.errors import FailureKind, SampleError

Layout = dict[str, object]


class _Option(NamedTuple):
    letter: str
    text: str
    written: str


# The text may be empty: "Which of the arrows A to D ...", the arrows being labelled in the video (VideoMMMU).
OPTION = re.compile(r"\(?([A-Z])[.):]+\s*(.*)", re.DOTALL)
# How tables fill the places of options that a question does not have.
NO_OPTION = ("", "N/A")
SEPARATOR = "|"
# Before an option: "Answer: (B) red", as VideoChat2 writes answers.
ANSWER = re.compile(r"answer:\s*(?=\(?[A-Z]\b)", re.IGNORECASE)
# Where options that are objects have their texts, as in STAR.
TEXT_KEYS = ("choice", "text", "option", "content")
HEADING = re.compile("(options|choices)?:?", re.IGNORECASE)
LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")
# Options one after the other in a line: "(A) red (B) blue", "A. red, B. blue or C. green".
IN_LINE = re.compile(r"(?<![^\s,;])\(?([A-Z])(?:\)|[.:](?=\s))\s*")
BETWEEN = re.compile(r"[,;]?(?:(?:^|\s+)(?:or|and))?\s*$")
BEFORE = re.compile(r"\s*\b(?:options|choices)\s*:?\s*$", re.IGNORECASE)
ALONE = re.compile(r"\(?[A-H]\)?\.?")
# Options by numbers, and an answer that is one of them: "1. red 2. blue", "(2)". 2.5 is none.
NUMBERED = re.compile(r"(?<![^\s,;])\(?([1-9])[.):](?!\d)")
BY_NUMBER = re.compile(r"\(?([1-9])\)?[.:]?(?!\S)")
# Of answers that a type was guessed for: what they are, one and several, and what to do.
DOUBTS = {
    "option": (
        "answer is the number of an option in the question",
        "answers are numbers of options in the question",
        "not read as multiple choice: write A. red B. blue, and the answer as the letter or the text",
    ),
    "number": (
        "free-form answer is a number",
        "free-form answers are numbers",
        "graded as text: write numerical in the column {label} of such a row to grade it as a number",
    ),
    "count": (
        'free-form answer to "How many" is more than a number',
        'free-form answers to "How many" are more than a number',
        "graded as text: write the number alone, as 3 or 2.5",
    ),
    "letter": (
        "free-form answer is a letter",
        "free-form answers are letters",
        "graded as text: give the options a column options (red | blue), or end the question with them: "
        "A. red B. blue",
    ),
}
# Rules for answers that are numbers of options, by the number of the first one.
COUNTED_FROM = ("index", "number")


def read_choices(layout: Layout, rules: Rules, labels: Mapping[str, str]) -> None:
    """Rewrite `options` and `solution` (and `problem`, where it holds the options) as `rules` say.

    What is not of the expected kind is left as it is, for `question_of` to refuse. Raises SampleError.
    """
    if rules.options == "in question" and not layout.get("options"):
        take_from_question(layout)
    options = layout.get("options")
    if not isinstance(options, list) or not {*map(type, options)} <= {str}:
        return
    if rules.options == "any":
        while options and options[-1].strip() in NO_OPTION:
            options = options[:-1]
    split = _split(options)
    if rules.options == "any":
        split = _with_letters(options, split, labels.get("options", "options"))
    if len(split) > 1:
        options = layout["options"] = [*map(_joined, split)]
    if rules.answer in COUNTED_FROM:
        first = COUNTED_FROM.index(rules.answer)
        layout["solution"] = letter_of_index(layout.get("solution"), options, labels["solution"], first)
    elif rules.answer == "text":
        layout["solution"] = _of_text(layout.get("solution"), split, labels["solution"])
    elif rules.answer == "option":
        layout["solution"] = _of_option(layout.get("solution"), split, labels["solution"])


def parse_cells(layout: Layout, labels: Mapping[str, str], guesses: set[str]) -> None:
    """Lists that are written as a text: JSON, or options with | between them or a line each."""
    for name in ("options", "evidence_spans", "frame_times"):
        cell = layout.get(name)
        if not isinstance(cell, str):
            continue
        if not cell.strip():
            layout[name] = None
        elif cell.lstrip()[:1] in ("[", "{") or name != "options":
            layout[name] = _list_cell(cell, labels[name], guesses, spans=name == "evidence_spans")
        else:
            written = cell.split(SEPARATOR) if SEPARATOR in cell else cell.strip().splitlines()
            layout[name] = [option.strip() for option in written]


# Texts between commas, as Python and so pandas write a list.
QUOTED = r"""(?:'(?:[^'\\]|\\['"\\nrt])*'|"(?:[^"\\]|\\['"\\nrt])*")"""
PYTHON_LIST = re.compile(rf"\[\s*{QUOTED}(?:\s*,\s*{QUOTED})*\s*\]")
NUMPY_LIST = re.compile(rf"\[\s*{QUOTED}(?:\s+{QUOTED})+\s*\]")


def _list_cell(cell: str, label: str, guesses: set[str], *, spans: bool) -> object:
    if PYTHON_LIST.fullmatch(cell.strip()):
        return ast.literal_eval(cell.strip())
    if NUMPY_LIST.fullmatch(cell.strip()):
        guesses.add(f"{label} without commas, as numpy prints a list")
        return [ast.literal_eval(text) for text in re.findall(QUOTED, cell)]
    try:
        value = json_value(cell.encode("utf-8", "surrogatepass"))
        if isinstance(value, SampleError):
            raise value
    except SampleError as error:
        expected = "spans of seconds as JSON, [[1.2, 2.0]]" if spans else "a list as JSON"
        _bad_row(f"{label}: got {short_repr(cell)}, expected {expected}: {error.message}")
    return value


def texts_of(options: object) -> object:
    """Options as texts where they are objects, [{"choice_id": 0, "choice": "red"}, …], or lists of labels and
    texts, {"label": ["A", "B"], "text": ["red", "blue"]}; else as they are."""
    if isinstance(options, Mapping) and isinstance(texts := options.get("text"), list):
        return texts if {*options} <= {"label", "text"} else options
    if not isinstance(options, list) or not all(isinstance(option, Mapping) for option in options):
        return options
    keys = {key for option in options for key in TEXT_KEYS if key in option}
    return [option.get(key) for option in options] if len(keys) == 1 and (key := keys.pop()) else options


def options_by_letter(options: Mapping[str, object], label: str) -> list[str]:
    """{"A": "text", ...} → ["A. text", ...]; an empty text is no option (so MMVU marks open questions),
    nor is null (with which a table of objects fills letters that a row lacks)."""
    for letter, text in options.items():
        if letter not in ascii_uppercase or len(letter) != 1 or not isinstance(text, str | None):
            _bad_row(f"{label}: got {short_repr(letter)}: {short_repr(text)}, expected a letter and a text")
    return [
        f"{letter}. {text.strip()}"
        for letter, text in options.items()
        if isinstance(text, str) and text.strip()
    ]


def options_of_columns(row: Mapping[str, object], columns: tuple[str, ...]) -> list[object]:
    """The options of a row that has a column for each."""
    options = [row.get(column) for column in columns]
    while options and (options[-1] is None or options[-1] in NO_OPTION):
        options.pop()
    for column, option in zip(columns, options, strict=False):
        if option is None or option in NO_OPTION:
            _bad_row(f"{column} is empty, but {columns[len(options) - 1]} has an option")
    return options


def take_from_question(layout: Layout) -> None:
    """Move the lines "A. text" at the end of the question to the options; other text may follow them where
    their letters are A, B, … in order."""
    question = layout.get("problem")
    if not isinstance(question, str):
        return
    lines = question.strip().split("\n")
    marks = [OPTION.fullmatch(line.strip()) for line in lines]
    end = next((at for at in range(len(lines), 0, -1) if marks[at - 1]), 0)
    first = end
    while first and (marks[first - 1] or not lines[first - 1].strip()):
        first -= 1
    found = [mark for mark in marks[first:end] if mark]
    if end < len(lines) and (not found or not _in_order([mark[1] for mark in found])):
        first = end = len(lines)
    options = [line.strip() for line in lines[first:end] if line.strip()]
    if options and first and HEADING.fullmatch(lines[first - 1].strip()):
        first -= 1
    layout["problem"] = "\n".join([*lines[:first], *lines[end:]]).rstrip()
    layout["options"] = options


def _in_order(letters: Sequence[str]) -> bool:
    return "".join(letters) == ascii_uppercase[: len(letters)]


def doubt_of(question: str, answer: str, problem_type: str) -> str:
    """Why an answer may be meant otherwise than by its guessed type, a key of DOUBTS; "" where it may not."""
    if problem_type not in ("free-form", "numerical"):
        return ""
    if named := BY_NUMBER.match(answer):
        numbers = "".join(NUMBERED.findall(question))
        if len(numbers) > 1 and "123456789".startswith(numbers) and named[1] in numbers:
            return "option"
    if problem_type == "numerical":
        return ""
    if is_number(answer):
        return "number"
    if HOW_MANY.search(question) and COUNTING.search(answer):
        return "count"
    return "letter" if ALONE.fullmatch(answer) else ""


def names_option(answer: object) -> bool:
    """Whether an answer is "B", "(B)" or "B. text": the options may be lines of the question."""
    bare = ANSWER.sub("", answer.strip(), count=1) if isinstance(answer, str) else ""
    return bool(LETTER.fullmatch(bare) or OPTION.fullmatch(bare))


def type_by_answer(layout: Layout, rules: Rules, *, counts_only: bool = False) -> str:
    """Multiple choice with options, which may be in the question where the answer names one of them;
    numerical with a number (`counts_only`: of "How many …?"); else free-form."""
    answer = layout.get("solution")
    if names_option(answer) or (rules.answer in ("option", "text") and _is_text_of_option(layout)):
        find_options(layout)
    if layout.get("options"):
        return "multiple choice"
    number = is_number(answer) if isinstance(answer, str) else isinstance(answer, int | float)
    counts = count_in(layout.get("problem"), answer)
    return "numerical" if counts or (number and not counts_only) else "free-form"


def find_options(layout: Layout) -> None:
    """Options from the end of the question, a line each or all in one, where the row has none and the
    question two or more.

    Raises SampleError where A is not among them, as where an option goes over several lines."""
    if layout.get("options"):
        return
    found: Layout = {"problem": layout.get("problem")}
    take_from_question(found)
    options = found.get("options")
    if not isinstance(options, list) or len(options) < 2:
        found |= _options_in_line(layout.get("problem"), layout.get("solution"))
        options = found.get("options")
    if not isinstance(options, list) or len(options) < 2:
        return
    letters = sorted(option.letter for option in _split(options))
    if not _in_order(letters):
        listed = short_repr(", ".join(letters))
        _bad_row(f"the question ends in the options {listed}, expected A, B, …, each on one line")
    layout.update(found)


def may_hold_options(question: str) -> bool:
    """Whether a question may have options in its text, by the look of it."""
    return "B" in question and len(IN_LINE.findall(question)) > 1


def _is_text_of_option(layout: Layout) -> bool:
    """Whether the answer is the text of one of the options that the question ends in."""
    answer, question = layout.get("solution"), layout.get("problem")
    if not isinstance(answer, str) or not isinstance(question, str) or not may_hold_options(question):
        return False
    found: Layout = {"problem": question, "solution": answer}
    try:
        find_options(found)
    except SampleError:
        return False
    options = found.get("options")
    split = _split(options) if isinstance(options, list) else []
    texts = [option.text for option in split]
    return texts.count(answer.strip()) == 1 or [*map(_bare, texts)].count(_bare(answer)) == 1


def _options_in_line(question: object, answer: object) -> Layout:
    """The question without the options that its last line with any has, and these; {} where there are none.

    They follow a stop, the question does not go on behind them, and the answer names one: "Is step (A) longer
    than step (B)?" and "Did J. A. Smith or B. Jones write it?" have none."""
    lines = question.strip().split("\n") if isinstance(question, str) else []
    for at in range(len(lines) - 1, -1, -1):
        marks = [*IN_LINE.finditer(lines[at])]
        first = max((n for n, mark in enumerate(marks) if mark[1] == "A"), default=len(marks))
        marks, line = marks[first:], lines[at]
        if len(marks) < 2 or not _in_order([mark[1] for mark in marks]):
            continue
        ends = [*(mark.start() for mark in marks[1:]), len(line)]
        texts = [line[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
        texts = [*(BETWEEN.sub("", text) for text in texts[:-1]), texts[-1]]
        before = BEFORE.sub("", "\n".join([*lines[:at], line[: marks[0].start()]])).rstrip()
        stops = (before[-1:] in ("?", ":", "!") or not marks[0].start()) and texts[-1][-1:] != "?"
        said = _bare(ANSWER.sub("", answer.strip(), count=1)) if isinstance(answer, str) else ""
        names = [mark[1] for mark in marks] + texts
        named = said[:1] in map(_bare, names) if names_option(answer) else said in map(_bare, names)
        if before and all(texts) and stops and named:
            options = [f"{mark[1]}. {text}" for mark, text in zip(marks, texts, strict=True)]
            return {"problem": "\n".join([before, *lines[at + 1 :]]), "options": options}
    return {}


def with_letters(options: Sequence[str], label: str) -> tuple[str, ...]:
    """Options "A. text": with their letters where these are the alphabet in order, else with new ones.

    `label` names the field in messages. Raises SampleError for more options than letters.
    """
    return tuple(map(_joined, _with_letters(options, _split(options), label)))


def lettered(options: Sequence[str]) -> Sequence[str]:
    """Options "A. text" from any of "A) text", "(A) text", "A: text"; [] where one has no letter."""
    return [*map(_joined, _split(options))]


def _split(options: Sequence[str]) -> list[_Option]:
    """The letter and the text of each option; [] where one of them has no letter."""
    found = []
    for option in options:
        if match := OPTION.fullmatch(written := option.strip()):
            found.append(_Option(match[1], match[2], written))
        else:
            return []
    return found


def _with_letters(options: Sequence[str], split: list[_Option], label: str) -> list[_Option]:
    """`split` where its letters are the first of the alphabet, else the options with new letters."""
    if len(options) > len(ascii_uppercase):
        _bad_row(f"{label}: got {len(options)} options, expected at most {len(ascii_uppercase)}")
    if split and _in_order(sorted(option.letter for option in split)):
        return split
    if not all(map(str.strip, options)):
        _bad_row(f"{label}: got {short_repr(options)}, of which one is empty")
    new = zip(ascii_uppercase, [option.strip() for option in options], strict=False)
    return [_Option(letter, text, f"{letter}. {text}") for letter, text in new]


def _joined(option: _Option) -> str:
    return f"{option.letter}. {option.text}" if option.text else f"{option.letter}."


def letter_of_index(index: object, options: Sequence[str], label: str, first: int = 0) -> str:
    """The letter of option number `index`, counted from `first`, as an integer or its digits."""
    digits = index.strip() if isinstance(index, str) else index
    if isinstance(digits, str) and digits.isascii() and digits.isdigit() and len(digits) < 4:
        digits = int(digits)
    last = len(options) - 1 + first
    if isinstance(digits, bool) or not isinstance(digits, int) or not first <= digits <= last:
        hint = f'; if the table counts from {1 - first}: rules.answer = "{COUNTED_FROM[1 - first]}"'
        hint *= digits == (0 if first else len(options))
        _bad_row(
            f"{label}: got {short_repr(index)}, expected the number of an option, {first} to {last}{hint}"
        )
    return options[digits - first].strip().lstrip("(")[:1]


def _of_text(answer: object, options: Sequence[_Option], label: str) -> object:
    """The letter of the one option whose text `answer` is; a letter alone may be such a text."""
    if not isinstance(answer, str):
        return answer
    named = [option.letter for option in options if option.text == answer.strip()]
    if len(named) != 1:
        found = f"of the options {', '.join(named)}" if named else "of no option"
        _bad_row(f"{label}: got {short_repr(answer)}, which is the text {found}, expected that of one")
    return named[0]


def _of_option(answer: object, options: Sequence[_Option], label: str) -> object:
    """The letter of the option that `answer` names: by its letter, its text, or both as they are written.

    A text in other case, or within other brackets and stops, names its option too, where only one fits.
    Options that got new letters, as their own are not the first of the alphabet, also go by their own.
    """
    if not isinstance(answer, str):
        return answer
    wanted = ANSWER.sub("", answer.strip(), count=1)
    letter = wanted if len(wanted) == 1 else (match[1] if (match := LETTER.fullmatch(wanted)) else "")
    named = {name for name, text, written in options if wanted in (text, written) or letter == name}
    if letter and all(own := [OPTION.fullmatch(option.text) for option in options]):
        named |= {
            option.letter for option, mark in zip(options, own, strict=True) if mark and mark[1] == letter
        }
    if not named:
        same = _bare(wanted)
        named = {
            one.letter for one in options if same in (_bare(one.letter), _bare(one.text), _bare(one.written))
        }
    if len(named) > 1:
        _bad_row(f"{label}: got {short_repr(answer)}, which names the options {', '.join(sorted(named))}")
    return named.pop() if named else answer


def _bare(text: str) -> str:
    return text.strip().strip("(.:)").strip().casefold()


def _bad_row(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
