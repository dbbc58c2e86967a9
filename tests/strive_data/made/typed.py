"""Command lines run in the process of the tests."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest


def code_of(program: str, *arguments: object) -> int:
    """The exit code of a command line, run in this process."""
    before, sys.argv = sys.argv, [program.replace("_", "-"), *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as caught:
            import_module(f"{program}.cli").main()
    finally:
        sys.argv = before
    return int(caught.value.code or 0)
