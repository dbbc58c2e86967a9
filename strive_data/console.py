"""How both command lines end: errors meant for the user become one line and exit code 2."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from strive_data.errors import StriveError


def make_app(help_text: str) -> typer.Typer:
    """A typer application in the house's form: no shell completion, no pretty tracebacks."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def run(app: typer.Typer) -> NoReturn:
    """Run the application. A StriveError is printed without a traceback and ends with exit code 2."""
    try:
        app()
    except StriveError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    raise SystemExit(0)
