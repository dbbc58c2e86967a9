"""What both command lines share: their common options, and how they end.

Errors meant for the user become one line and exit code 2.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from strive_data.common.output_folder import FULL
from strive_data.common.retries import GIVE_UP
from strive_data.common.storage import place_of
from strive_data.common.text import escape_controls
from strive_data.errors import StriveError, UsageError

# Ctrl-C and SIGTERM end a command cleanly: workers are stopped, and what is unfinished is given up.


class Terminated(BaseException):
    """SIGTERM came. Like KeyboardInterrupt no Exception: nothing on the way may swallow it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the block when SIGTERM comes; only in the main thread."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        GIVE_UP.clear()


def exit_code(stop: BaseException) -> int:
    """What a shell expects of a command that a signal ended: 128 + its number."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def _terminate(number: int, frame: FrameType | None) -> None:
    GIVE_UP.set()
    raise Terminated


def option(*names: str, text: str, **checks: Any) -> Any:
    """An option whose own text says its default, where it has one: help shows it once, and in words."""
    return typer.Option(*names, help=text, show_default=False, **checks)


def written(text: str) -> Any:
    """An option for a path of this machine that is written to: as a path a URL would be a folder `s3:`."""
    return option(text=text, parser=path_here, metavar="PATH")


def path_here(where: str) -> Path:
    """A path of this machine. Raises UsageError for the URL of another storage."""
    place = place_of(where)
    if isinstance(place, str):
        raise UsageError(
            f"{place}: this option writes to a path of this machine, no URL; name a path, and copy"
        )
    return place


def lasting_place(where: str) -> str:
    """A path or URL that outlives this process. Raises UsageError for memory://, and as `place_of`."""
    if str(place_of(where)).lower().startswith("memory:"):
        raise UsageError(
            f"{where}: memory:// is this process's own memory, gone when the command ends; name a folder, or "
            "the URL of a storage that stays"
        )
    return where


Config = Annotated[Path | None, option(text="Settings file, TOML; default none.")]
PublishedConfig = Annotated[
    Path | None, option(text="Settings file, TOML, or the name of one of manifests/; default none.")
]
Assignments = Annotated[
    list[str] | None, option("--set", text="section.key=value over the file, repeatable; default none.")
]


def echo(text: str, *, err: bool = False) -> None:
    """Print a line. All output of a command passes here: what a file says cannot control the terminal."""
    typer.echo(escape_controls(text), err=err)


def make_app(help_text: str) -> typer.Typer:
    """A typer application in the house's form: no shell completion, no pretty tracebacks."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def run(app: typer.Typer) -> NoReturn:
    """Run the application. A StriveError, or a standard output that is full, is one line and exit code 2."""
    code = 0
    try:
        try:
            app()
        except SystemExit as end:
            if not isinstance(end.code, int | None):
                raise
            code = end.code or 0
        sys.stdout.flush()
    except StriveError as error:
        echo(f"error: {error}", err=True)
        code = 2
    except OSError as error:
        if error.filename is not None or error.errno not in (*FULL, errno.EIO):
            raise
        # Without a file name it comes from a stream; Python must not flush it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        echo(f"error: standard output cannot be written: {error.strerror}", err=True)
        code = 2
    raise SystemExit(code)
