"""Options and answers of multiple choice, as data sets write them → "A. text" and the letter. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NoReturn

from strive_data.annotations.recipes import Rules
from strive_data.common.text import short_repr
from strive_data.errors import FailureKind, SampleError

Layout = dict[str, object]

# The text may be empty: "Which of the arrows A to D ...", the arrows being labelled in the video (VideoMMMU).
OPTION = re.compile(r"\(?([A-Z])[.):]+\s*(.*)", re.DOTALL)
HEADING = re.compile("(options|choices)?:?", re.IGNORECASE)
LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")


def read_choices(layout: Layout, rules: Rules, labels: Mapping[str, str]) -> None:
    """Rewrite `options` and `solution` (and `problem`, where it holds the options) as `rules` say.

    What is not of the expected kind is left as it is, for `question_of` to refuse. Raises SampleError.
    """
    if rules.options == "in question" and not layout.get("options"):
        take_from_question(layout)
    if rules.options == "any":
        options = layout.get("options")
        if isinstance(options, list) and all(isinstance(option, str) for option in options):
            layout["options"] = list(with_letters(options, labels.get("options", "options")))
    options = layout.get("options")
    if isinstance(options, list) and all(isinstance(option, str) for option in options):
        if rules.answer == "index":
            layout["solution"] = _of_index(layout.get("solution"), options, labels["solution"])
        elif rules.answer == "text":
            layout["solution"] = _of_text(layout.get("solution"), options, labels["solution"])
        elif rules.answer == "option":
            layout["solution"] = _of_option(layout.get("solution"), options, labels["solution"])


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
    """Options "A. text": as they are where all have the letters of the alphabet in order, else with new ones.

    `label` names the field in messages. Raises SampleError for more options than letters.
    """
    if len(options) > len(ascii_uppercase):
        _bad_row(f"{label}: got {len(options)} options, expected at most {len(ascii_uppercase)}")
    letters = ascii_uppercase[: len(options)]
    if all(
        (match := OPTION.fullmatch(option.strip())) and match[1] == letter
        for option, letter in zip(options, letters, strict=True)
    ):
        return tuple(options)
    return tuple(f"{letter}. {option.strip()}" for option, letter in zip(options, letters, strict=True))


def _of_index(index: object, options: Sequence[str], label: str) -> object:
    """The letter of option number `index`, from 0, as an integer or its digits."""
    digits = index.strip() if isinstance(index, str) else index
    if isinstance(digits, str) and digits.isascii() and digits.isdigit() and len(digits) < 4:
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits < len(options):
        _bad_row(
            f"{label}: got {short_repr(index)}, expected the number of an option, 0 to {len(options) - 1}"
        )
    return options[digits].strip().lstrip("(")[:1]


def _of_text(answer: object, options: Sequence[str], label: str) -> object:
    """The letter of the one option whose text `answer` is; a letter alone may be such a text."""
    if not isinstance(answer, str):
        return answer
    matches = [match for option in options if (match := OPTION.fullmatch(option.strip()))]
    named = [match[1] for match in matches if match[2].strip() == answer.strip()]
    if len(named) != 1:
        found = f"of the options {', '.join(named)}" if named else "of no option"
        _bad_row(f"{label}: got {short_repr(answer)}, which is the text {found}, expected that of one")
    return named[0]


def _of_option(answer: object, options: Sequence[str], label: str) -> object:
    """The letter of the option that `answer` names: by its letter, its text, or both as they are written.

    A text in other case, or with another full stop, names its option too, where only one fits.
    """
    if not isinstance(answer, str):
        return answer
    matches = [match for option in options if (match := OPTION.fullmatch(option.strip()))]
    wanted = answer.strip()
    letter = LETTER.fullmatch(wanted)
    named = {match[1] for match in matches if letter and letter[1] == match[1]}
    named |= {match[1] for match in matches if wanted in (match[2].strip(), match[0])}
    if not named:
        same = _bare(wanted)
        named = {match[1] for match in matches if same in map(_bare, (match[1], match[2], match[0]))}
    if len(named) > 1:
        _bad_row(f"{label}: got {short_repr(answer)}, which names the options {', '.join(sorted(named))}")
    return named.pop() if named else answer


def _bare(text: str) -> str:
    return text.strip().removesuffix(".").casefold()


def _bad_row(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
