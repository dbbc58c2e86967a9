"""Options and answers of multiple choice, as data sets write them → "A. text" and the letter. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple, NoReturn

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
# How tables with a column for each option fill the columns of questions that have fewer.
NO_OPTION = ("", "N/A")
HEADING = re.compile("(options|choices)?:?", re.IGNORECASE)
LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")


def read_choices(layout: Layout, rules: Rules, labels: Mapping[str, str]) -> None:
    """Rewrite `options` and `solution` (and `problem`, where it holds the options) as `rules` say.

    What is not of the expected kind is left as it is, for `question_of` to refuse. Raises SampleError.
    """
    if rules.options == "in question" and not layout.get("options"):
        take_from_question(layout)
    options = layout.get("options")
    if not isinstance(options, list) or not {*map(type, options)} <= {str}:
        return
    split = _split(options)
    if rules.options == "any":
        split = _with_letters(options, split, labels.get("options", "options"))
    if len(split) > 1:
        options = layout["options"] = [*map(_joined, split)]
    if rules.answer == "index":
        layout["solution"] = letter_of_index(layout.get("solution"), options, labels["solution"])
    elif rules.answer == "text":
        layout["solution"] = _of_text(layout.get("solution"), split, labels["solution"])
    elif rules.answer == "option":
        layout["solution"] = _of_option(layout.get("solution"), split, labels["solution"])


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
    """Move the lines "A. text" at the end of the question to the options."""
    question = layout.get("problem")
    if not isinstance(question, str):
        return
    lines = question.strip().split("\n")
    first = len(lines)
    while first and OPTION.fullmatch(lines[first - 1].strip()):
        first -= 1
    options = [line.strip() for line in lines[first:]]
    if options and first and HEADING.fullmatch(lines[first - 1].strip()):
        first -= 1
    layout["problem"] = "\n".join(lines[:first]).rstrip()
    layout["options"] = options


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
    """`split` where its letters are those of the alphabet in order, else the options with new letters."""
    if len(options) > len(ascii_uppercase):
        _bad_row(f"{label}: got {len(options)} options, expected at most {len(ascii_uppercase)}")
    if split and ascii_uppercase.startswith("".join([option.letter for option in split])):
        return split
    new = zip(ascii_uppercase, [option.strip() for option in options], strict=False)
    return [_Option(letter, text, f"{letter}. {text}") for letter, text in new]


def _joined(option: _Option) -> str:
    return f"{option.letter}. {option.text}" if option.text else f"{option.letter}."


def letter_of_index(index: object, options: Sequence[str], label: str) -> str:
    """The letter of option number `index`, from 0, as an integer or its digits."""
    digits = index.strip() if isinstance(index, str) else index
    if isinstance(digits, str) and digits.isascii() and digits.isdigit() and len(digits) < 4:
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits < len(options):
        _bad_row(
            f"{label}: got {short_repr(index)}, expected the number of an option, 0 to {len(options) - 1}"
        )
    return options[digits].strip().lstrip("(")[:1]


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
    """
    if not isinstance(answer, str):
        return answer
    wanted = answer.strip()
    letter = wanted if len(wanted) == 1 else (match[1] if (match := LETTER.fullmatch(wanted)) else "")
    named = {name for name, text, written in options if wanted in (text, written) or letter == name}
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
