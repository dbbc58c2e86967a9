"""What both command lines share: options, checks of paths, output, settings as text, how a command ends.

Errors meant for the user become one line and exit code 2.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import cleandoc
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from textwrap import shorten
from types import NoneType
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import typer

from strive_data import __version__
from strive_data.common.files import FULL, TABLE_FORMATS, near_path, require_no_file_above, require_suffix
from strive_data.common.settings import choose
from strive_data.common.signals import say_now, terminable
from strive_data.common.storage import place_of
from strive_data.common.text import escape_controls, short_repr
from strive_data.errors import StriveError, Terminated, UsageError


def option(*names: str, text: str, **checks: Any) -> Any:
    """An option whose help text states its default in words; the help adds no second default."""
    return typer.Option(*names, help=text, show_default=False, **checks)


def written(text: str, *, folder: bool = False, suffixes: Sequence[str] = ()) -> Any:
    """An option for a local path to write to: of a folder, or of a file whose name must end so.

    A URL is refused: as a path it would be a folder `s3:`. So are places below a file.
    """

    def parse(where: str) -> Path:
        place = local_path(where)
        require_no_file_above(place)
        if folder and place.exists() and not place.is_dir():
            raise UsageError(f"{place}: it is a file, expected a folder; name a new one")
        if suffixes:
            require_suffix(place, suffixes)
        return place

    return option(text=text, parser=parse, metavar="PATH")


def local_path(where: str) -> Path:
    """A local path. Raises UsageError for the URL of another storage."""
    place = place_of(where)
    if isinstance(place, str):
        raise UsageError(
            f"{place}: this option takes a local path, not a URL; name a path, then copy the file"
        )
    return place


def local_folder(where: str) -> Path:
    """A local folder that exists. Raises UsageError for a URL and for a missing folder."""
    place = place_of(where)
    if isinstance(place, str):
        raise UsageError(f"{place}: this command reads local folders only; copy the build to one first")
    if place.is_file():
        raise UsageError(f"{place} is a file, expected a folder")
    if not place.is_dir():
        raise UsageError(f"no such folder: {place}{near_path(place)}")
    return place


def folder_anywhere(where: str) -> str:
    """A URL, or `local_folder`."""
    return where if isinstance(place_of(where), str) else str(local_folder(where))


def local_folder_or_file(where: str) -> Path:
    """`local_folder`, or a local file."""
    place = place_of(where)
    return place if isinstance(place, Path) and place.is_file() else local_folder(where)


def existing(what: str) -> Callable[[str], str]:
    """A parser of paths and URLs. Raises UsageError for a local path that does not exist; `what` it names."""

    def parse(where: str) -> str:
        place = place_of(where)
        if isinstance(place, Path) and not place.exists():
            raise UsageError(f"no such {what}: {where}{near_path(place)}")
        return where

    return parse


def lasting_place(where: str) -> str:
    """A path or URL that outlives this process. Raises UsageError for memory://, and as `place_of` and
    `require_no_file_above`."""
    place = place_of(where)
    if isinstance(place, Path):
        require_no_file_above(place)
    elif place.lower().startswith("memory:"):
        raise UsageError(
            f"{where}: memory:// is the memory of this process and is lost when the command ends; name a "
            "folder, or the URL of a persistent storage"
        )
    return where


def argument(text: str, metavar: str = "FOLDER", parser: Callable[[str], Any] = local_folder) -> Any:
    """An argument, as it stands a finished build on this machine."""
    return typer.Argument(help=text, show_default=False, parser=parser, metavar=metavar)


Build = Annotated[Path, argument("Folder of a finished build.")]
BuildAnywhere = Annotated[str, argument("Folder or URL of a finished build.", parser=folder_anywhere)]
TableOut = Annotated[
    Path | None, written("Also write the table: .csv or .parquet; default none.", suffixes=TABLE_FORMATS)
]
ColumnNames = Annotated[
    str | None,
    option(
        text="Columns of your own table, such as video=video_path,question=prompt; default: common names are "
        "found.",
        metavar="FIELD=COLUMN,...",
    ),
]
Config = Annotated[Path | None, option(text="Settings file, TOML; default none.")]
PublishedConfig = Annotated[
    Path | None, option(text="Settings file, TOML, or the name of one of manifests/; default none.")
]
Assignments = Annotated[
    list[str] | None,
    option(
        "--set", text="section.key=value over the file, repeatable; the last of one key counts; default none."
    ),
]


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, control characters escaped. All output of a command passes here, so that no file can
    control the terminal."""
    typer.echo(escape_controls(text), err=err)


def make_app(help_text: str) -> typer.Typer:
    """A typer application with -h and --version, without shell completion and pretty tracebacks."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich takes twice the time of all else that help needs
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(help=help_text)
    def common(version: Version = False) -> None:
        pass

    return app


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        echo(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
]


RENAMED = {"--answers": "--completions", "--drawn-phases": "--drawn-offsets"}
"""Options of earlier versions, which are refused."""
# Of arguments: every look at such a path raises.
PATHS_THAT_CANNOT_BE = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


def run(app: typer.Typer) -> NoReturn:
    """Run the application. A StriveError, a path that cannot be, and a standard output that is full are one
    line and exit code 2."""
    code, arguments = 0, sys.argv[1:]
    if arguments[-1:] == [HELP_SETTINGS]:  # it needs a value
        arguments.append(SECTIONS)
    try:
        for name in (each.partition("=")[0] for each in arguments):
            if name in RENAMED:
                raise UsageError(f"{name} is {RENAMED[name]} now")
        try:
            # A command that has more to say answers signals itself. Before it, typer builds the options by
            # `exec`: CPython then dies of a KeyboardInterrupt, even of one that is caught.
            say = say_now if os.environ.get("RANK", "0") == "0" else lambda _: None
            with terminable(say, interrupts=False):
                app(arguments)
        except Terminated as stop:
            code = stop.exit_code
        except SystemExit as end:
            if not isinstance(end.code, int | None):
                raise
            code = end.code or 0
        sys.stdout.flush()
    except StriveError as error:
        echo(f"error: {error}", err=True)
        code = 2
    except OSError as error:
        if error.errno in PATHS_THAT_CANNOT_BE:
            echo(f"error: {short_repr(error.filename)}: {error.strerror}", err=True)
            raise SystemExit(2) from error
        if error.filename is not None or error.errno not in (*FULL, errno.EIO):
            raise
        # Without a file name it comes from a stream; Python must not flush it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        echo(f"error: standard output cannot be written: {error.strerror}", err=True)
        code = 2
    raise SystemExit(code)


ALL = "all"
TOP = "top"
HELP_SETTINGS, SECTIONS = "--help-settings", "sections"
"""The option alone, which `run` completes to SECTIONS, lists the sections."""


Ways = Mapping[str, type]
"""The settings of a command by the way that it is used: of a second way what the first one lacks."""


def settings_option(settings: Callable[[], type | Ways]) -> Any:
    """The option --help-settings SECTION of a command: prints the settings of that class and exits.

    `settings` imports the class when it is needed. "top" are the settings outside of sections.
    """

    def show(section: str | None) -> None:
        if section is not None:
            echo(describe(settings(), section))
            raise typer.Exit

    return typer.Option(
        HELP_SETTINGS,
        metavar="[SECTION]",
        help="Print the settings of a section (or of all) with defaults, then exit; default: the sections.",
        callback=show,
        is_eager=True,
        show_default=False,
    )


def describe(settings: type | Ways, section: str = ALL) -> str:
    """The settings of one section, or of all; for SECTIONS a line for each.

    Raises SettingsError for an unknown section.
    """
    parts = list(_parts(settings if isinstance(settings, Mapping) else {"": settings}))
    names = dict.fromkeys(name for _, name, _, _ in parts)
    if section == SECTIONS:
        width = max(map(len, names))
        lines = [(way, f"{name:{width}}  {_summary(cls)}") for way, name, cls, _ in parts]
    else:
        choose(section, [*names, ALL], "section")
        wanted = names if section == ALL else [section]
        lines = [(way, _text_of(name, cls, new)) for way, name, cls, new in parts if name in wanted]
    between = "\n" if section == SECTIONS else "\n\n"
    ways = groupby(lines, key=itemgetter(0))
    return "\n\n".join(
        (f"{way}:\n{between[1:]}" if way else "") + between.join(text for _, text in few) for way, few in ways
    )


def _parts(ways: Ways) -> Iterator[tuple[str, str, type, list[Field[Any]]]]:
    """(way, section, its class, its settings) of each section, without those that an earlier way has with the
    same default, and without sections of which nothing is left."""
    known: set[tuple[str, str, str]] = set()
    for way, cls in ways.items():
        for name, each in sections(cls):
            hints = get_type_hints(each)
            values = [member for member in fields(each) if not is_dataclass(hints[member.name])]
            new = [member for member in values if (name, member.name, _default(member)) not in known]
            known |= {(name, member.name, _default(member)) for member in new}
            if new:
                yield way, name, each, new


def sections(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """The dataclasses of settings by their dotted names, the outermost as TOP."""
    yield prefix.removesuffix(".") or TOP, cls
    for name, hint in get_type_hints(cls).items():
        if isinstance(hint, type) and is_dataclass(hint):
            yield from sections(hint, f"{prefix}{name}.")


def _summary(cls: type) -> str:
    """The beginning of its docstring."""
    return shorten(cleandoc(cls.__doc__ or "").partition("\n\n")[0], 60, placeholder=" …")


def _text_of(name: str, cls: type, members: Iterable[Field[Any]]) -> str:
    hints, prefix = get_type_hints(cls), "" if name == TOP else f"{name}."
    lines = (f"  {prefix}{one.name} = {_default(one)}   ({_type(hints[one.name])})" for one in members)
    return "\n".join([f"[{name}]", *cleandoc(cls.__doc__ or "").splitlines(), "", *lines])


def _default(member: Field[Any]) -> str:
    if member.default_factory is not MISSING:
        return _text(member.default_factory())
    return "required" if member.default is MISSING else _text(member.default)


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value) if value != "" else '""'


def _type(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, args))
    if NoneType in args:
        return f"{_type(next(arg for arg in args if arg is not NoneType))}, or none"
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"{_type(args[1])} by name"
    return {int: "whole number", float: "number", str: "text", bool: "true, false"}.get(hint, str(hint))
