"""All settings of a command as text: each section with its docstring, each key with default and type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import cleandoc
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from strive_data.common.console import echo
from strive_data.common.settings import choose

ALL = "all"
TOP = "top"


def settings_option(settings: Callable[[], type]) -> Any:
    """The option --help-settings SECTION of a command: prints the settings of that class and exits.

    `settings` imports the class when it is needed. "top" are the settings outside of sections.
    """

    def show(section: str | None) -> None:
        if section is not None:
            echo(describe(settings(), section))
            raise typer.Exit

    return typer.Option(
        "--help-settings",
        metavar="SECTION",
        help="Print the settings of a section (or of all) with defaults, then exit.",
        callback=show,
        is_eager=True,
        show_default=False,
    )


def describe(cls: type, section: str = ALL) -> str:
    """The settings of one section, or of all. Raises SettingsError for an unknown section."""
    known = dict(sections(cls))
    choose(section, [*known, ALL], "section")
    names = list(known) if section == ALL else [section]
    return "\n\n".join("\n".join(_lines(name, known[name])) for name in names)


def sections(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """The dataclasses of settings by their dotted names, the outermost as TOP."""
    yield prefix.removesuffix(".") or TOP, cls
    for name, hint in get_type_hints(cls).items():
        if isinstance(hint, type) and is_dataclass(hint):
            yield from sections(hint, f"{prefix}{name}.")


def _lines(name: str, cls: type) -> Iterator[str]:
    yield f"[{name}]"
    yield from cleandoc(cls.__doc__ or "").splitlines()
    yield ""
    hints, prefix = get_type_hints(cls), "" if name == TOP else f"{name}."
    for member in fields(cls):
        if not is_dataclass(hints[member.name]):
            yield f"  {prefix}{member.name} = {_default(member)}   ({_type(hints[member.name])})"


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
