"""Recipes: how the rows of a data set become questions, as a small TOML file and no code.

The packaged ones are in `manifests/` (at the root of the source tree, inside the package in a wheel); a file
of the user's own is named by its path.

A field is named in one of three ways:
- `answer = "solution"`: the row's field as it is; `"videos[0]"`, `"reward_model.ground_truth"` and
  `"messages[role=user].content"` lead into lists and objects; `"video | videos[0]"` is the first one present.
  Several questions that are each followed by their answer in one list of messages are a row each; of other
  messages of one role, or several videos, none is chosen: such a row fails.
- `id = "{video_id}-{metadata.subject}"`: a text made of fields, numbers among them; in `{a | b}` the first
  one present.
- `{@file}`, `{@folder}` (names without suffix), `{@row}` (from 0 in its list or table; a list within the file
  counts on from an earlier one whose ids would be the same): the place of a row; `{@videos}`: the folder that
  `video_folders` gives for the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import product, takewhile
from pathlib import Path
from string import ascii_lowercase
from typing import Literal

from strive_data.common.settings import choose, load, manifests_home, require
from strive_data.errors import SettingsError, UsageError

PLACES = ("@file", "@folder", "@row", "@videos")
ROW = "{@row}"
HOLE = re.compile(r"\{([^{}]+)\}")
STEP = re.compile(r"(?:^|\.)([^.\[\]|]+)|\[(-?\d+)\]|\[(\w+)=([^\[\]]+)\]")
IN_LIST = "[]/"  # of `rows`: the file is a list
FOLDERS = ("datasets", "benchmarks")
# Rows in this layout say themselves where their video is and of what type they are, whatever other columns
# they kept from the benchmark that they were made from.
FIRST = "video-r1"
# Column names that a table without a recipe may use, in any case, with "_", "-" or a blank between words.
OWN_TABLE = "plain"
OWN_TABLE_WITH_IDS = "plain-id"
NAMES: Mapping[str, tuple[str, ...]] = {
    "video": (
        *("video", "video_path", "video_file", "video_name", "video_filename", "path", "file", "filename"),
        *("clip", "videos", "video_id", "vid", "video_idx", "vid_name", "gif_name"),
    ),
    "question": ("question", "problem", "prompt", "query", "instruction", "ask"),
    "answer": (
        *("answer", "label", "solution", "ground_truth", "gt", "target", "correct_answer", "response"),
        *("output", "answer_key"),
    ),
    "options": ("options", "choices", "candidates", "option"),
    "id": ("id", "question_id", "qid", "sample_id", "uid", "problem_id"),
    "evidence_spans": ("evidence_spans",),
    "source": ("source", "data_source"),
    "problem_type": ("problem_type", "question_type", "type"),
    "image": ("image", "image_path", "image_file", "image_name"),
    "fps": ("fps", "frame_rate"),
    "frame_times": ("frame_times",),
}
REQUIRED = ("video", "question", "answer")
# Such columns have one option each: A, B, … or option_a, choice1, answer_0, …
OPTION_PREFIXES = ("", "option", "opt", "choice", "candidate", "answer", "a")
OPTION_MARKS = (ascii_lowercase, "0123456789", "123456789")

Step = str | int | tuple[str, str]
Otherwise = Literal[
    "",
    "by options",
    "by question",
    "by answer",
    "multiple choice",
    "numerical",
    "OCR",
    "free-form",
    "regression",
    "temporal grounding",
]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where a row has what; "" for what the data set does not have.

    `image` is read where a row has no video; a row that has both is a bad one. `fps` and `frame_times` are
    the rate and the times of a folder of pictures; a video file has its own."""

    id: str
    video: str
    question: str
    answer: str
    options: str = ""
    evidence_spans: str = ""
    source: str = ""
    data_type: str = ""
    image: str = ""
    fps: str = ""
    frame_times: str = ""


@dataclass(frozen=True, kw_only=True)
class TypeRule:
    """The type of a row.

    `field` is the row's own word for it, in any case, which the lists translate; with no list it is the type
    itself. `by_answer` are words such as "math", whose rows get their type as by otherwise = "by answer".
    `otherwise` is for a word in no list, and for rows without one: a type; "by options" (multiple choice
    with options, else free-form); "by question" (the same, but numerical where "How many" is asked and the
    answer is a number, and the options may end the question where the answer is a letter); "by answer"
    (multiple choice with options, also those at the end of the question, else numerical where the answer is a
    number, else free-form). "" makes such a row a bad one.
    `absent` takes the place of `otherwise` for rows without a word.
    """

    field: str = ""
    by_answer: tuple[str, ...] = ()
    multiple_choice: tuple[str, ...] = ()
    numerical: tuple[str, ...] = ()
    regression: tuple[str, ...] = ()
    ocr: tuple[str, ...] = ()
    free_form: tuple[str, ...] = ()
    temporal_grounding: tuple[str, ...] = ()
    otherwise: Otherwise = ""
    absent: Otherwise = ""

    def __post_init__(self) -> None:
        require(bool(self.field or self.otherwise), "problem_type: set field, otherwise, or both")

    @cached_property
    def words(self) -> dict[str, str]:
        """Problem type of each listed word in small letters, or "by answer"."""
        lists = {
            "multiple choice": self.multiple_choice,
            "numerical": self.numerical,
            "regression": self.regression,
            "OCR": self.ocr,
            "free-form": self.free_form,
            "temporal grounding": self.temporal_grounding,
            "by answer": self.by_answer,
        }
        return {word.casefold(): problem_type for problem_type, words in lists.items() for word in words}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How published values are to be read.

    `video_after` keeps what follows this text of a video's address. `strip` are place holders such as
    "<video>", which are cut out of the question. `options` of multiple choice: "lettered"
    wants "A. text"; "any" adds the letters where they are not there, and takes {"A": "text"} too, an empty
    text being no option; "in question" takes them from the last lines of the question. `answer` of multiple
    choice: "letter"; "option", the letter or the whole text of one option; "text", its whole text alone;
    "index", counted from 0; "number", counted from 1. `option_columns` have one option each; those behind the
    last option may be empty. `answer_in_tags` takes the answer from between <answer> and </answer> where the
    text has them once. `moment_seconds` reads evidence as moments, {"time": seconds} or seconds, each a span
    of that much before and after.
    """

    video_after: str = ""
    strip: tuple[str, ...] = ()
    options: Literal["lettered", "any", "in question"] = "lettered"
    option_columns: tuple[str, ...] = ()
    answer: Literal["letter", "option", "text", "index", "number"] = "letter"
    answer_in_tags: bool = False
    moment_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set. `columns` show that a file is of it (none: only where the recipe is asked for); of
    "videos | images" one is enough.

    `rows` leads from a JSON object to its lists of rows, a key or `{name}` a step, the latter over all keys,
    whose text becomes the rows' field `name`: "{video_id}/{dimension}"; a last step "a&b" makes a row of each
    place in these lists of one length. "" is a list or table of rows; "[]/qa" a list of objects that each
    have rows in `qa`, and whose other fields the rows get too. `video_folders` has the folder of the videos,
    {@videos}, by the name of the annotation file.
    """

    title: str
    project: str = ""
    licence: str = ""
    note: str = ""
    columns: tuple[str, ...] = ()
    rows: str = ""
    fields: Fields
    problem_type: TypeRule
    rules: Rules = field(default_factory=Rules)
    video_folders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = vars(self.fields) | {"problem_type": self.problem_type.field}
        for name in ("id", "video", "question", "answer"):
            require(bool(named[name]), f"fields.{name} is empty: name a field of the row")
        for name, text in named.items():
            require(
                _well_formed(text), f"{name} = {text!r}: expected a field's name, or a text with {{field}}"
            )
        for step in self.rows.removeprefix(IN_LIST).split("/") if self.rows else ():
            require(bool(step) and _well_formed(step), f"rows = {self.rows!r}: expected key/{{name}}/…")


@cache
def steps_of(path: str) -> tuple[Step, ...]:
    """The steps of a path into a row: names, positions, and the (key, value) of an object in a list."""
    return tuple(
        match[1] or (int(match[2]) if match[2] else (match[3], match[4])) for match in STEP.finditer(path)
    )


def names_read(recipe: Recipe) -> set[str]:
    """The fields of a row that the recipe takes anything from; of nested ones the outermost."""
    texts = [text for text in (*vars(recipe.fields).values(), recipe.problem_type.field) if text]
    fields = [field for text in texts for field in HOLE.findall(text) or [text]]
    paths = {path for field in fields for path in one_of(field)}.difference(PLACES)
    return {str(steps_of(path)[0]) for path in paths} | paths | {*recipe.rules.option_columns}


def one_of(columns: str) -> set[str]:
    """The columns of which a file needs one: "videos | images"."""
    return {column.strip() for column in columns.split("|")}


def packaged() -> dict[str, Path]:
    """File of each recipe that comes with the package, by name."""
    home = manifests_home()
    return {path.stem: path for folder in FOLDERS for path in sorted((home / folder).glob("*.toml"))}


@cache
def packaged_recipes() -> dict[str, Recipe]:
    """All recipes that come with the package, by name."""
    return {name: _load(path) for name, path in packaged().items()}


def find_recipe(name: str) -> Recipe:
    """The packaged recipe of that name, or that in a file *.toml; SettingsError where there is none."""
    if name.endswith(".toml"):
        return _load(Path(name))
    return packaged_recipes()[choose(name, packaged_recipes(), "recipe")]


def recipe_that_fits(columns: Set[str], recipes: Iterable[str]) -> str:
    """The name of that one of `recipes` whose columns are all there; "" if there is none.

    The Video-R1 layout comes first, then the most columns, then a user's own table. Raises UsageError for any
    other tie.
    """
    known = packaged_recipes()
    sizes = {
        name: len(known[name].columns)
        for name in recipes
        if known[name].columns and all(columns & one_of(text) for text in known[name].columns)
    }
    if FIRST in sizes or not sizes:
        return FIRST if sizes else ""
    most = [name for name, size in sizes.items() if size == max(sizes.values())]
    if OWN_TABLE in most:
        return OWN_TABLE
    if len(most) > 1:
        raise UsageError(f"the recipes {', '.join(most)} fit equally well: choose by --recipe")
    return most[0]


def column_names(text: str) -> dict[str, str]:
    """ "video=clip,question=prompt" as columns by field. Raises UsageError for any other form."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for field_name, equals, column in pairs:
        if not (equals and field_name.strip() and column.strip()):
            raise UsageError(f"--columns {text}: expected FIELD=COLUMN pairs separated by commas")
    return {field_name.strip(): column.strip() for field_name, _, column in pairs}


def own_table(columns: Set[str], named: Mapping[str, str]) -> tuple[str, Recipe] | None:
    """The packaged recipe of a user's own table, by its name, and as it is with this table's columns.

    `named` gives columns for fields by name; the others are found by common names (`NAMES`). None where
    video, question or answer is not found. Raises UsageError where two columns fit one field.
    """
    found = _found_columns(columns, named)
    if not set(REQUIRED) <= found.keys():
        return None
    base = OWN_TABLE_WITH_IDS if "id" in found else OWN_TABLE
    recipe = packaged_recipes()[base]
    texts = {
        name: f"{{{column}}}" if name == "answer" else column
        for name, column in found.items()
        if name != "problem_type"
    }
    # A column that is one field is no other, as `image` in a table of images alone, where it is the video.
    texts = {
        name: "" for name, text in vars(recipe.fields).items() if name in NAMES and text in found.values()
    } | texts
    # A column `type` may hold words of any kind; one called problem_type is to name a problem type.
    column = found.get("problem_type", "problem_type")
    exact = _common_form(column) == "problem_type" or "problem_type" in named
    rule = replace(recipe.problem_type, field=column, otherwise="" if exact else recipe.problem_type.absent)
    return base, replace(recipe, fields=replace(recipe.fields, **texts), problem_type=rule)


def missing_fields(columns: Set[str], named: Mapping[str, str]) -> list[str]:
    """Which of video, question and answer no column of a user's own table is named for."""
    return [name for name in REQUIRED if name not in _found_columns(columns, named)]


def _found_columns(columns: Set[str], named: Mapping[str, str]) -> dict[str, str]:
    """Column of each field of a user's own table, by `named` or by common names."""
    for name, column in named.items():
        if name not in NAMES:
            known = f"got {name!r}, expected one of {', '.join(NAMES)}"
            swapped = f"the field comes first, then the table's column: --columns {column}={name}"
            raise UsageError(f"--columns {name}={column}: {swapped if column in NAMES else known}")
        if column not in columns:
            raise UsageError(
                f"--columns {name}={column}: no such column; the table has {', '.join(sorted(columns))}"
            )
    found = {
        name: column for name in NAMES if (column := named.get(name) or _column_for(name, columns, named))
    }
    if "image" in found and "video" not in found:
        found["video"] = found.pop("image")
    return found


def with_option_columns(recipe: Recipe, columns: Set[str]) -> Recipe:
    """The recipe of a user's own table, with the columns that have one option each where none has all."""
    if recipe.fields.options in columns:
        return recipe
    options = _option_columns(columns - names_read(recipe))
    return replace(recipe, rules=replace(recipe.rules, option_columns=options))


def _option_columns(columns: Set[str]) -> tuple[str, ...]:
    """Two or more columns with an option each, in order; none where no names say so."""
    names = {_common_form(column): column for column in columns}
    for prefix, join, marks in product(OPTION_PREFIXES, ("_", ""), OPTION_MARKS):
        if prefix or (marks.isalpha() and not join):
            found = tuple(takewhile(bool, (names.get(f"{prefix}{join}{mark}", "") for mark in marks)))
            if len(found) > 1:
                return found
    return ()


def _common_form(column: str) -> str:
    """A column's name in small letters, with _ between words, also those of "videoPath"."""
    return re.sub(r"[\s-]+|(?<=[a-z])(?=[A-Z])", "_", column.strip()).lower()


def _column_for(name: str, columns: Set[str], named: Mapping[str, str]) -> str:
    """The column that a table calls by a common name of the field, the most common name first."""
    free = columns - set(named.values())
    for common in NAMES[name]:
        fits = sorted(column for column in free if _common_form(column) == common)
        if len(fits) > 1:
            raise UsageError(
                f"the columns {', '.join(fits)} could all be the {name}: choose by --columns {name}=COLUMN"
            )
        if fits:
            return fits[0]
    return ""


def _load(path: Path) -> Recipe:
    try:
        return load(Recipe, config=path)
    except SettingsError as error:
        raise SettingsError(f"recipe {path}: {error}") from error


def _well_formed(text: str) -> bool:
    """Braces only around names, `@` only before the places that are known, whole paths between bars."""
    holes = HOLE.findall(text)
    rest = HOLE.sub("", text)
    if set("{}") & set(rest) or any(hole.startswith("@") and hole not in PLACES for hole in holes):
        return False
    return bool(holes) or all(_is_path(path.strip()) for path in text.split("|") if text)


def _is_path(path: str) -> bool:
    return bool(path) and "".join(match[0] for match in STEP.finditer(path)) == path
