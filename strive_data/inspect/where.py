"""The condition of `--where`: SQL over the columns of one table, read by polars, admitted by an allow-list.

Only columns, literals, comparisons, arithmetic and the functions named here pass. A query, a table function
or a function that builds large texts is refused before polars sees it, so that a condition reads nothing
but its table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from strive_data.errors import UsageError

WORDS = ("and", "or", "not", "in", "between", "like", "ilike", "is", "null", "true", "false")
FUNCTIONS = (
    *("abs", "array_contains", "array_length", "ceil", "coalesce", "ends_with", "floor"),
    *("length", "lower", "round", "starts_with", "strpos", "upper"),
)
MOST_CHARACTERS = 2000
TOKEN = re.compile(
    r"""\s+
    | (?P<text>'(?:[^']|'')*')
    | "(?P<quoted>[^"]+)"
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<name>[A-Za-z_]\w*)(?P<call>\s*\()?
    | <> | <= | >= | != | [-+*/%=<>(),]""",
    re.VERBOSE | re.ASCII,
)


def parse_where(where: str, columns: Sequence[str]) -> pl.Expr:
    """The condition as an expression. Raises UsageError that names the first word that is not admitted."""
    try:
        _check(where, columns)
        return pl.sql_expr(where)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise where_error(where, str(error), columns) from error


def where_error(where: str, reason: str, columns: Sequence[str]) -> UsageError:
    """One line: the condition, what is wrong with it, and what is expected."""
    first = reason.strip().split("\n")[0].partition("; valid columns")[0]
    shown = where if len(where) <= 200 else f"{where[:200]}…"
    return UsageError(
        f"--where {shown!r}: {first}; expected an SQL condition on {', '.join(columns)}, with comparisons "
        f"and the functions {', '.join(FUNCTIONS)}"
    )


def _check(where: str, columns: Sequence[str]) -> None:
    """Raise ValueError for the first part of the condition that is not on the allow-list."""
    if len(where) > MOST_CHARACTERS:
        raise ValueError(f"{len(where)} characters, at most {MOST_CHARACTERS} are read")
    if "--" in re.sub(r"'[^']*'", "''", where):
        raise ValueError("comments are not read")
    place = 0
    while place < len(where):
        token = TOKEN.match(where, place)
        if token is None:
            raise ValueError(f"cannot read {where[place : place + 20]!r}")
        place = token.end()
        name = token["quoted"] or token["name"]
        if name is None or name in columns:
            continue
        known = FUNCTIONS if token["call"] and name.lower() not in WORDS else WORDS
        if token["quoted"] or name.lower() not in known:
            raise ValueError(
                f"{name!r} is no column" + (" and no function that is read" if token["call"] else "")
            )
