"""One row of any data set, read by its recipe → a row in the Video-R1 layout, which `question_row` checks.

Values are moved, chosen and lettered, never guessed: what a rule does not foresee is a bad row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NoReturn

from strive_data.annotations.question import LETTER, OPTION
from strive_data.annotations.recipes import HOLE, Recipe, Rules
from strive_data.annotations.rows import Item, json_value
from strive_data.common.text import short_repr
from strive_data.errors import FailureKind, SampleError

# Options and answers of multiple choice, as the data sets write them → "A. text" and the letter. Pure.

Layout = dict[str, object]


def read_choices(layout: Layout, rules: Rules, labels: Mapping[str, str]) -> None:
    """Rewrite `options` and `solution` (and `problem`, where the options stand in it) as `rules` say.

    What is not of the expected kind is left as it is, for `question_row` to refuse. Raises SampleError.
    """
    if rules.options == "in question":
        _take_from_question(layout)
    elif rules.options == "any":
        layout["options"] = _lettered(layout.get("options"), labels.get("options", "options"))
    options = layout.get("options")
    if isinstance(options, list) and all(isinstance(option, str) for option in options):
        if rules.answer == "index":
            layout["solution"] = _of_index(layout.get("solution"), options, labels["solution"])
        elif rules.answer == "option":
            layout["solution"] = _of_option(layout.get("solution"), options, labels["solution"])


def options_by_letter(options: Mapping[str, object], label: str) -> list[str]:
    """{"A": "text", ...} → ["A. text", ...]; an empty text is no option (so MMVU marks open questions)."""
    for letter, text in options.items():
        if letter not in ascii_uppercase or len(letter) != 1 or not isinstance(text, str):
            _bad(f"{label}: got {short_repr(letter)}: {short_repr(text)}, expected a letter and a text")
    return [
        f"{letter}. {text.strip()}"
        for letter, text in options.items()
        if isinstance(text, str) and text.strip()
    ]


def _take_from_question(layout: Layout) -> None:
    """Move the lines "A. text" at the end of the question to the options."""
    question = layout.get("problem")
    if not isinstance(question, str):
        return
    lines = question.strip().split("\n")
    first = len(lines)
    while first and OPTION.fullmatch(lines[first - 1].strip()):
        first -= 1
    layout["problem"] = "\n".join(lines[:first])
    layout["options"] = [line.strip() for line in lines[first:]]


def _lettered(options: object, label: str) -> object:
    """Options with letters: their own where all have them in the order of the alphabet, else new ones."""
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        return options
    if len(options) > len(ascii_uppercase):
        _bad(f"{label}: got {len(options)} options, expected at most {len(ascii_uppercase)}")
    letters = ascii_uppercase[: len(options)]
    if all(
        (match := OPTION.fullmatch(option.strip())) and match[1] == letter
        for option, letter in zip(options, letters, strict=True)
    ):
        return options
    return [f"{letter}. {option.strip()}" for option, letter in zip(options, letters, strict=True)]


def _of_index(index: object, options: Sequence[str], label: str) -> object:
    """The letter of option number `index`, from 0, as an integer or its digits."""
    digits = index.strip() if isinstance(index, str) else index
    if isinstance(digits, str) and digits.isascii() and digits.isdigit() and len(digits) < 4:
        digits = int(digits)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits < len(options):
        _bad(f"{label}: got {short_repr(index)}, expected the number of an option, 0 to {len(options) - 1}")
    return options[digits].strip().lstrip("(")[:1]


def _of_option(answer: object, options: Sequence[str], label: str) -> object:
    """The letter of the option that `answer` names: by its letter, by its text, or by both as it stands."""
    if not isinstance(answer, str):
        return answer
    matches = [match for option in options if (match := OPTION.fullmatch(option.strip()))]
    wanted = answer.strip()
    letter = LETTER.fullmatch(wanted)
    named = {match[1] for match in matches if letter and letter[1] == match[1]}
    named |= {match[1] for match in matches if wanted in (match[2].strip(), match[0])}
    if len(named) > 1:
        _bad(f"{label}: got {short_repr(answer)}, which names the options {', '.join(sorted(named))}")
    return named.pop() if named else answer


def _bad(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)


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
            _bad_row(f"{name} is missing")
        value = value[part]
    if isinstance(value, str):
        if not value.strip():
            _bad_row(f"{name} is empty")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST:
        return str(value)
    return _bad_row(f"{name}: got {short_repr(value)}, expected a text or a number below {LARGEST:.0e}")


def _cut_video(layout: Layout, recipe: Recipe) -> None:
    after, video = recipe.rules.video_after, layout.get("path")
    if not after or not isinstance(video, str):
        return
    _, found, path = video.partition(after)
    if not found:
        _bad_row(f"{_label(recipe.fields.video, 'video')}: got {short_repr(video)}, expected {after!r} in it")
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
        _bad_row(f"{label}: got {short_repr(cell)}, {error.message}")
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
        place = _label(rule.field, "problem_type")
        _bad_row(f"{place}: got {short_repr(word)}, expected one of {', '.join(known)}")
    elif word is not ABSENT:
        layout["problem_type"] = word


def _label(text: str, name: str) -> str:
    """A field is called as the row calls it; what is made of several, by the recipe's `name` for it."""
    if not HOLE.search(text):
        return text or name
    hole = HOLE.fullmatch(text)
    return hole[1] if hole else name


def _bad_row(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)
