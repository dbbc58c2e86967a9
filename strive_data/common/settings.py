"""Settings of both packages: TOML and `section.key=value` into nested frozen dataclasses, and back.

Order of precedence, weakest first: defaults, TOML file, then command-line options and `--set`, which may not
contradict each other. The files of `manifests/` are at the root of the source tree, in a wheel inside the
package.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, reduce
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from strive_data.common.files import near_path
from strive_data.common.text import did_you_mean, some
from strive_data.errors import SettingsError

T = TypeVar("T")

LISTED = 20
ADDED = {"added": True}
"""Metadata of a field that earlier versions lack, whose default is their behaviour: it is written only where
it is not the default, so that their records, fingerprints and unfinished folders stay valid."""
LIMIT = {"limit": True}
"""Metadata of a field that says what a run may cost or when it stops, and changes no byte of its output."""


def load(
    cls: type[T],
    *,
    config: Path | None = None,
    options: Mapping[str, object] | None = None,
    assignments: Iterable[str] = (),
) -> T:
    """Resolve settings of type `cls` (a nested frozen dataclass).

    `options` are command-line options by dotted name; those that are None were not given. `assignments` are
    `section.key=value` texts whose values are read as TOML (numbers also as `.5`), or as plain text where
    they are not TOML. Raises SettingsError for unknown names, wrong types, values that `__post_init__`
    refuses, and assignments that contradict an option. A class says in `RETIRED` what became of the settings
    that it no longer has, by their old names, and of values that one no longer takes, by name=value.
    """
    tree: dict[str, Any] = _read_toml(config) if config else {}
    given = {name: value for name, value in (options or {}).items() if value is not None}
    for name, value in given.items():
        _assign(tree, name, value)
    for text in assignments:
        name, equals, raw = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text}: expected section.key=value")
        _assign(tree, name.strip(), _toml_value(raw.strip()))
        _require_kept(tree, given, text)
    return typed(cls, tree)


def _require_kept(tree: Mapping[str, Any], given: Mapping[str, object], text: str) -> None:
    """Raise SettingsError where an assignment changed the value that an option gave."""
    for name, value in given.items():
        *sections, key = name.split(".")
        part = reduce(lambda part, key: part[key] if isinstance(part, dict) else part, sections, tree)
        now = part.get(key) if isinstance(part, dict) else value  # a section that is none is refused later
        if now != value:
            raise SettingsError(
                f"--set {text} makes {name} {now!r}, its option on the command line {value!r}; leave one out"
            )


def as_dict(settings: Any, *, limits: bool = True) -> dict[str, Any]:
    """Plain nested dictionary of resolved settings, ready for JSON; fields that are LIMIT only with
    `limits`."""
    found = {}
    for member in fields(settings):
        value, kept = getattr(settings, member.name), limits or not member.metadata.get("limit")
        if kept and (not member.metadata.get("added") or value != member.default):
            nested = is_dataclass(value)
            found[member.name] = as_dict(value, limits=limits) if nested else json.loads(json.dumps(value))
    return found


def as_toml(settings: Any) -> str:
    """Resolved settings as a TOML file that `load` reads back to the same.

    TOML has no word for None: where that is not the default it is written as "none", which `load` reads so
    wherever a text is not expected.
    """
    return "\n".join(_toml_lines(settings, "")) + "\n"


def identity(settings: Any) -> dict[str, Any]:
    """What the bytes of an output depend on: `as_dict` without limits."""
    return as_dict(settings, limits=False)


def fingerprint(settings: Any) -> str:
    """Hash of `identity`: equal settings give equal fingerprints."""
    return sha256(json.dumps(identity(settings), sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`section.key: old, now new` for each value that differs between two nested dictionaries."""
    found: list[str] = []
    for name in dict.fromkeys([*old, *new]):
        before, now = old.get(name, "nothing"), new.get(name, "nothing")
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differences(before, now, f"{prefix}{name}.")
        elif before != now:
            found.append(f"{prefix}{name}: {before!r}, now {now!r}")
    return found


def choose(name: str, known: Iterable[str], what: str) -> str:
    """`name` if it is one of `known`; else SettingsError that suggests the nearest and lists the first."""
    known = sorted(known)
    if name in known:
        return name
    raise SettingsError(f"unknown {what} {name!r}{did_you_mean(name, known)}; known: {some(known, LISTED)}")


def require(condition: bool, message: str) -> None:
    """Raise SettingsError unless `condition`; for `__post_init__`."""
    if not condition:
        raise SettingsError(message)


def at_least(settings: object, prefix: str, **least: float) -> None:
    """Require that these fields are not below their least value; None is accepted."""
    for name, bound in least.items():
        got = getattr(settings, name)
        require(got is None or got >= bound, f"{prefix}{name}: got {got}, expected at least {bound}")


def positive(settings: object, prefix: str, *names: str) -> None:
    """Require that these fields are more than 0."""
    for name in names:
        got = getattr(settings, name)
        require(got > 0, f"{prefix}{name}: got {got}, expected more than 0")


def share(settings: object, prefix: str, *names: str) -> None:
    """Require that these fields are from 0 to 1."""
    for name in names:
        got = getattr(settings, name)
        require(0 <= got <= 1, f"{prefix}{name}: got {got}, expected 0 to 1")


def require_device(setting: str, name: str) -> None:
    """Raise SettingsError where CUDA is wanted and its driver sees no such device; without torch."""
    kind, _, index = name.partition(":")
    # An AMD device goes by the name of cuda too, and has another driver.
    if kind == "cuda" and not Path("/dev/kfd").exists():
        count = _cuda_devices()
        named = not index or (index.isdigit() and int(index) < count)
        seen = f"expected cuda:number, with {count} devices here" if count else "but there is no CUDA device"
        require(bool(count) and named, f"{setting}: got {name!r}, {seen}; use cpu or auto")


def _cuda_devices() -> int:
    import ctypes  # Here: few commands need it.

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror}{near_path(path)}") from error
    except ValueError as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error


def _toml_value(raw: str) -> object:
    if re.fullmatch(r"[+-]?(\.\d+|\d+\.)", raw):
        return float(raw)  # TOML wants a digit on either side of the point; people write .5
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except ValueError:  # no TOML, or more digits than Python reads
        return raw


def _toml_lines(settings: Any, prefix: str) -> Iterator[str]:
    """Values before sections, as TOML wants them."""
    members = {member.name: getattr(settings, member.name) for member in fields(settings)}
    for member in fields(settings):
        value = members[member.name]
        if value is None and member.default is not None:
            yield f'{member.name} = "none"'
        elif value is not None and not is_dataclass(value) and not isinstance(value, Mapping):
            yield f"{member.name} = {_toml_text(value)}"
    for name, value in members.items():
        if is_dataclass(value):
            yield from ["", f"[{prefix}{name}]", *_toml_lines(value, f"{prefix}{name}.")]
        elif isinstance(value, Mapping):
            entries = (f"{json.dumps(key)} = {_toml_text(each)}" for key, each in value.items())
            yield from ["", f"[{prefix}{name}]", *entries]


def _toml_text(value: Any) -> str:
    """A bool, number, text or list of these: JSON's form of them is TOML's but for its escapes of DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _assign(tree: dict[str, Any], name: str, value: object) -> None:
    *sections, key = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"setting {name!r}: {section!r} is a value, not a section")
    tree[key] = value


@cache
def _members(cls: type) -> tuple[dict[str, Any], list[str]]:
    """The types of a dataclass's fields by name, and the names of those without a default."""
    hints, members = get_type_hints(cls), fields(cls)
    bare = [each.name for each in members if each.default is MISSING and each.default_factory is MISSING]
    return {each.name: hints[each.name] for each in members}, bare


def typed(cls: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """A dataclass of plain values (of TOML or JSON) by name, each checked against its type, those of nested
    ones too. Raises SettingsError that names the value, with `prefix` before its name."""
    hints, required = _members(cls)  # type: ignore[arg-type]  # a class is hashable
    retired: Mapping[str, str] = getattr(cls, "RETIRED", {})
    for name in (each for each in tree if each not in hints):
        if name in retired:
            raise SettingsError(f"setting {prefix + name!r} is {retired[name]}")
        shown, hint = _elsewhere(hints, name, tree[name]) or (name, did_you_mean(name, hints))
        raise SettingsError(f"unknown setting {prefix + shown!r}{hint}; known: {', '.join(hints)}")
    for name in (each for each in required if each not in tree):
        raise SettingsError(f"setting {prefix + name!r} is missing, and has no default")
    for name, value in tree.items() if retired else ():
        if gone := retired.get(f"{name}={value}"):
            raise SettingsError(f"setting {prefix + name!r}: the value {value!r} is {gone}")
    return cls(**{name: _convert(hints[name], value, prefix + name) for name, value in tree.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    if type(value) is hint and (hint is str or (hint is int and abs(value) < 2**63)):
        return value  # as most are, of which a manifest has many
    origin, args = get_origin(hint), get_args(hint)
    is_section = is_dataclass(hint) and isinstance(hint, type)
    if (is_section or origin is dict) and not isinstance(value, Mapping):
        raise SettingsError(f"setting {name!r} is a section; set one of its keys instead")
    if is_section:
        return typed(hint, value, name + ".")
    if origin is Literal:
        if value not in args:
            known = ", ".join(map(str, args))
            raise SettingsError(f"setting {name!r}: got {value!r}, expected one of {known}")
        return value
    if origin in (Union, types.UnionType):
        if value is None or (value == "none" and type(None) in args and str not in args):
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            example = json.dumps([value], default=str)
            raise SettingsError(f"setting {name!r}: got {value!r}, expected a list, as {name}={example}")
        return tuple(_convert(args[0], item, name) for item in value)
    if origin is dict:
        return {str(key): _convert(args[1], item, f"{name}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if (type(value) is float and not math.isfinite(value)) or (type(value) is int and abs(value) >= 2**63):
        raise SettingsError(
            f"setting {name!r}: got {value!r}, expected a finite number; whole ones below 2**63"
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        got = f"{value!r} ({type(value).__name__})"
        raise SettingsError(f"setting {name!r}: got {got}, expected {hint.__name__}")
    return value


def _elsewhere(hints: Mapping[str, Any], name: str, value: object) -> tuple[str, str] | None:
    """The setting as it was given, and a hint to that of the same name in another section: commands differ in
    their sections."""
    for key in value if isinstance(value, Mapping) else ():
        if key in hints:
            return f"{name}.{key}", f", did you mean {key!r}?"
    for section, hint in hints.items():
        if is_dataclass(hint) and name in hint.__dataclass_fields__:
            return name, f", did you mean '{section}.{name}'?"
    return None


def manifests_home() -> Path:
    """The folder `manifests`."""
    package = Path(__file__).parents[1]
    inside = package / "manifests"
    return inside if inside.is_dir() else package.parent / "manifests"


def settings_file(config: Path | None, folder: str) -> Path | None:
    """What `--config` means: a file, or the name of one of `manifests/<folder>` without its suffix.

    A path that is there, ends in .toml or has several parts is taken as it is. Raises SettingsError for
    another name that is not among them, with the nearest.
    """
    if config is None or config.is_file() or config.suffix == ".toml" or len(config.parts) > 1:
        return config
    known = {path.stem: path for path in (manifests_home() / folder).glob("*.toml")}
    return known[choose(str(config), known, f"name in manifests/{folder}")]
