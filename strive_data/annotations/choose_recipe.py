"""Which recipe reads a file: the one that was asked for, or the one that its columns show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from strive_data.annotations.nested_rows import inner_rows, nested_items
from strive_data.annotations.recipes import (
    IN_LIST,
    OWN_TABLE,
    OWN_TABLE_WITH_IDS,
    REQUIRED,
    Recipe,
    find_recipe,
    missing_fields,
    names_read,
    one_of,
    own_table,
    packaged_recipes,
    recipe_that_fits,
    with_option_columns,
)
from strive_data.annotations.rows import EXPECTED, ROWS_FOR_COLUMNS, RowFile, columns_of
from strive_data.common.text import some
from strive_data.errors import SampleError, UsageError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The recipe of one file, the name it goes by, and which columns were found by common names."""

    file: RowFile
    name: str
    recipe: Recipe
    guesses: tuple[str, ...] = ()


def choose(file: RowFile, recipe: str | None, named: Mapping[str, str]) -> Choice:
    """The recipe that was asked for, or that the columns of the first rows fit, or else those of all rows.

    Raises UsageError where none does.
    """
    if recipe:
        found = find_recipe(recipe)
        inside = not found.rows and file.tree is not None and not names_read(found) & file.tree.keys()
        return Choice(file=(inner_rows(file) if inside else None) or file, name=recipe, recipe=found)
    for first in (ROWS_FOR_COLUMNS, None):
        columns = columns_of(file.items.as_read(), first)
        if choice := _fitting(file, columns, named):
            return choice
    broken = file.header and any(isinstance(item.value, SampleError) for item in file.items)
    if broken and (choice := _fitting(file, {*file.header}, named)):
        return choice  # each broken row says what is wrong with it
    if empty := _empty_fields(file, columns, named):
        raise UsageError(
            f"annotation {file.path}: {' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty in "
            f"every row; write a question and its answer into the rows of {file.path}, then build again"
        )
    listed, missing = _listed(columns) + _lists_of_rows(file), missing_fields(columns, named)
    if len(missing) < len(REQUIRED):
        raise UsageError(
            f"annotation {file.path}: no column for the {' and the '.join(missing)}: columns are {listed}; "
            f"name {'it' if len(missing) == 1 else 'them'} with --columns "
            f"{','.join(f'{name}=COLUMN' for name in missing)}, or all by a recipe (--recipe FILE.toml)"
        )
    raise UsageError(
        f"annotation {file.path}: no recipe fits its columns {listed}; {EXPECTED}. Name the columns with "
        "--columns video=COLUMN,question=COLUMN,answer=COLUMN, or write a recipe (--recipe FILE.toml); "
        "`strive-data recipes` lists those that are known"
    )


def _lists_of_rows(file: RowFile) -> str:
    """How a recipe would read rows that each row of a file has in a list, "" where none does."""
    first = next(iter(file.items)).value
    for name, value in first.items() if isinstance(first, Mapping) else ():
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            return f' ({name!r} is a list of rows, which a recipe reads: rows = "[]/{name}")'
    return ""


def _empty_fields(file: RowFile, columns: set[str], named: Mapping[str, str]) -> list[str]:
    """The columns without a value of an own table that its header shows: `strive-data init` leaves them."""
    found = own_table(set(file.header), named) if file.header else None
    if found is None:
        return []
    fields = found[1].fields
    needed = [text.strip("{}") for text in (fields.video, fields.question, fields.answer)]
    return [column for column in needed if column not in columns]


def _fitting(file: RowFile, columns: set[str], named: Mapping[str, str]) -> Choice | None:
    known = packaged_recipes()
    if named and not {*named.values()} & columns and (inner := inner_rows(file)):
        return choose(inner, None, named)
    if not named:
        # Rows in a list of each row ("[]/events") are known by that list's name.
        flat = [
            name for name, one in known.items() if not one.rows or one.rows.removeprefix(IN_LIST) in columns
        ]
        name = recipe_that_fits(columns, flat)
        if name not in ("", OWN_TABLE, OWN_TABLE_WITH_IDS):
            return Choice(file=file, name=name, recipe=known[name])
        if not name and file.tree is not None:
            # Each recipe leads to other rows of the tree, so each is tried on its own.
            fits = [name for name, recipe in known.items() if recipe.rows and _fits_tree(file, name, recipe)]
            wanted = {column for name in fits for text in known[name].columns for column in one_of(text)}
            if name := recipe_that_fits(wanted, fits):
                return Choice(file=file, name=name, recipe=known[name])
    if (found := own_table(columns, named)) is None:
        if (inner := inner_rows(file)) is not None:
            return choose(inner, None, named)
        if file.tree is not None and len(missing_fields(columns, named)) == len(REQUIRED):
            raise UsageError(
                f"annotation {file.path}: one JSON object with the keys {_listed(columns)}, which is not a "
                f'question; {EXPECTED}. A recipe reads rows inside it: rows = "KEY" (--recipe FILE.toml)'
            )
        return None
    name, recipe = found[0], with_option_columns(found[1], columns | file.header)
    used = vars(recipe.fields) | {"problem_type": recipe.problem_type.field}
    renamed = {field: column.strip("{}") for field, column in used.items() if column and column[0] != "{@"}
    shown = [
        f"{field}={column}" for field, column in renamed.items() if column != field and column in columns
    ]
    if recipe.rules.option_columns:
        shown.append(f"options={' + '.join(recipe.rules.option_columns)}")
    guesses = (f"columns {', '.join(shown)}",) if shown else ()
    return Choice(file=file, name=name, recipe=recipe, guesses=guesses)


def printable(names: Iterable[str]) -> list[str]:
    """Names in order, fit for one line of a terminal: JSON allows anything for a key."""
    return [name if name.isprintable() else ascii(name) for name in sorted(names)]


def _listed(columns: Iterable[str]) -> str:
    return some(printable(columns), 20)


def _fits_tree(file: RowFile, name: str, recipe: Recipe) -> bool:
    columns = columns_of(nested_items(file.path, file.tree or {}, recipe.rows))
    return recipe_that_fits(columns, [name]) == name
