"""Recipes: how the rows of a data set become questions, as a small TOML file and no code.

The packaged ones lie in `manifests/` (in the source tree at its root, in a wheel inside the package); a file
of the user's own is named by its path.

A field is named in one of two ways. `answer = "solution"` takes the row's field as it stands and wants a
text. A text with braces is made of fields, numbers among them, dots leading into nested objects:
`id = "{video_id}-{metadata.subject}"`. `{@file}`, `{@folder}` (names without suffix) and `{@row}` (from 0 in
its list or table) say where a row stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from strive_data.common.settings import choose, load, manifests_home, require
from strive_data.errors import SettingsError, UsageError

PLACES = ("@file", "@folder", "@row")
HOLE = re.compile(r"\{([^{}]+)\}")
FOLDERS = ("datasets", "benchmarks")
# Rows in this layout say themselves where their video is and of what type they are, whatever other columns
# they kept from the benchmark they were made from.
FIRST = "video-r1"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where a row has what; "" for what the data set does not have."""

    id: str
    video: str
    question: str
    answer: str
    options: str = ""
    evidence_spans: str = ""
    source: str = ""
    data_type: str = ""


@dataclass(frozen=True, kw_only=True)
class TypeRule:
    """The type of a row.

    `field` is the row's own word for it, which the lists translate; with no list it is the type itself.
    `otherwise` is for a word in no list, and for rows without one: a type, or "by options" (multiple choice
    with options, else free-form); "" makes such a row a bad one.
    """

    field: str = ""
    multiple_choice: tuple[str, ...] = ()
    numerical: tuple[str, ...] = ()
    regression: tuple[str, ...] = ()
    ocr: tuple[str, ...] = ()
    free_form: tuple[str, ...] = ()
    otherwise: Literal["", "by options", "multiple choice", "numerical", "OCR", "free-form", "regression"] = (
        ""
    )

    def __post_init__(self) -> None:
        require(bool(self.field or self.otherwise), "problem_type: set field, otherwise, or both")

    @cached_property
    def words(self) -> dict[str, str]:
        """Problem type of each listed word."""
        lists = {
            "multiple choice": self.multiple_choice,
            "numerical": self.numerical,
            "regression": self.regression,
            "OCR": self.ocr,
            "free-form": self.free_form,
        }
        return {word: problem_type for problem_type, words in lists.items() for word in words}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How published values are to be read.

    `video_after` keeps what follows this text of a video's address. `options` of multiple choice: "lettered"
    wants "A. text"; "any" adds the letters where they are not there, and takes {"A": "text"} too, an empty
    text being no option; "in question" takes them from the last lines of the question. `answer` of multiple
    choice: "letter"; "option", the letter or the whole text of one option; "index", counted from 0.
    """

    video_after: str = ""
    options: Literal["lettered", "any", "in question"] = "lettered"
    answer: Literal["letter", "option", "index"] = "letter"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set. `columns` tell that a file is of it (none: only where the recipe is asked for).

    `rows` leads from a JSON object to its lists of rows, a key or `{name}` a step, the latter over all keys,
    whose text becomes the rows' field `name`: "{video_id}/{dimension}". "" is a list or table of rows.
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

    def __post_init__(self) -> None:
        named = vars(self.fields) | {"problem_type": self.problem_type.field}
        for name in ("id", "video", "question", "answer"):
            require(bool(named[name]), f"fields.{name} is empty: name a field of the row")
        for name, text in named.items():
            require(
                _well_formed(text), f"{name} = {text!r}: expected a field's name, or a text with {{field}}"
            )
        for step in self.rows.split("/") if self.rows else ():
            require(bool(step) and _well_formed(step), f"rows = {self.rows!r}: expected key/{{name}}/…")


def names_read(recipe: Recipe) -> set[str]:
    """The fields of a row that the recipe takes anything from; of nested ones the outermost."""
    texts = [*vars(recipe.fields).values(), recipe.problem_type.field]
    holes = {hole.split(".")[0] for text in texts for hole in HOLE.findall(text)}
    return {text for text in texts if text and not HOLE.search(text)} | holes.difference(PLACES)


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

    The Video-R1 layout comes first, then the most columns. Raises UsageError for a tie.
    """
    known = packaged_recipes()
    sizes = {
        name: len(known[name].columns)
        for name in recipes
        if known[name].columns and columns >= set(known[name].columns)
    }
    if FIRST in sizes or not sizes:
        return FIRST if sizes else ""
    most = [name for name, size in sizes.items() if size == max(sizes.values())]
    if len(most) > 1:
        raise UsageError(f"the recipes {', '.join(most)} fit equally well: choose by --recipe")
    return most[0]


def _load(path: Path) -> Recipe:
    try:
        return load(Recipe, config=path)
    except SettingsError as error:
        raise SettingsError(f"recipe {path}: {error}") from error


def _well_formed(text: str) -> bool:
    """Braces only around names, and `@` only before the places that are known."""
    holes = HOLE.findall(text)
    rest = HOLE.sub("", text)
    return not set("{}") & set(rest) and all(not hole.startswith("@") or hole in PLACES for hole in holes)
