"""What both command lines share: their common options, and how they end.

Errors meant for the user become one line and exit code 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from strive_data.errors import StriveError


def option(*names: str, text: str, **checks: Any) -> Any:
    """An option whose own text says its default, where it has one: help shows it once, and in words."""
    return typer.Option(*names, help=text, show_default=False, **checks)


Config = Annotated[Path | None, option(text="Settings file, TOML; default none.")]
PublishedConfig = Annotated[
    Path | None, option(text="Settings file, TOML, or the name of one of manifests/; default none.")
]
Assignments = Annotated[
    list[str] | None, option("--set", text="section.key=value over the file, repeatable; default none.")
]


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
