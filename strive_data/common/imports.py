"""Imports by name: code that a setting names as `package.module:name`, a package's public names on use."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from strive_data.common.signals import GIVE_UP
from strive_data.errors import UsageError

NAMES = {"class": "ClassName", "function": "function"}


def imported(name: str, setting: str, kind: str) -> Any:
    """What `package.module:name` or `file.py:name` names; `kind` (as "class", "function") is what `setting`
    expects of it.

    Raises UsageError, which begins with the setting, where it is not written so, cannot be imported, or is
    nothing that can be called.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        wanted = NAMES[kind]
        raise UsageError(f"{setting} {name!r}: expected package.module:{wanted} or file.py:{wanted}")
    from_file = module.endswith(".py")
    if from_file and not Path(module).is_file():
        raise UsageError(f"{setting} {name}: no file {module} (looked in {Path.cwd()})")
    try:
        found = _module_of(Path(module)) if from_file else import_module(module)
    except SyntaxError as error:
        raise UsageError(f"{setting} {name}: cannot import {module}: {error}") from error
    except ImportError as error:
        absent = error.name or module
        hint = f"is {absent.split('.')[0]} installed, or its folder on PYTHONPATH?"
        raise UsageError(f"{setting} {name}: cannot import {module}: {error}; {hint}") from error
    except BaseException as error:  # Any, sys.exit too: the code is the user's.
        if isinstance(error, KeyboardInterrupt) or GIVE_UP.is_set():  # A signal ends the command.
            raise
        last = extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        raise UsageError(
            f"{setting} {name}: importing {module} raised {type(error).__name__}: {error} ({where})"
        ) from error
    value = getattr(found, attribute, None)
    if not callable(value):
        raise UsageError(f"{setting} {name}: {module} has no {kind} {attribute}")
    return value


def _module_of(path: Path) -> ModuleType:
    """The module of a file, which may import others beside it; one file is run once."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    name = f"{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a file of Python")
    sys.modules[name] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def public(package: str, name: str, modules: Mapping[str, Sequence[str]]) -> Any:
    """The public `name` of a package, from the one of `modules` that has it: for the package's `__getattr__`.

    So that importing the package, or one of its modules, imports nothing else. Raises AttributeError.
    """
    for module, names in modules.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
