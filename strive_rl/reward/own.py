"""A user's own reward, named by import path. Nothing else in the settings names code to import but scorers.

The contract: a function of (text, Question) that gives a number in [0, 1], or a dictionary of such numbers by
name. What it raises, and any other result, stops the run and names the question: it never becomes a 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from traceback import extract_tb

from strive_data.errors import StriveError
from strive_data.import_path import imported
from strive_data.schema import Question

Own = Callable[[str, Question], object]

# Name of the part of a function that gives one number.
ONE = "own"


def load_own(name: str) -> Own:
    """The function `package.module:name`. Raises UsageError where there is none."""
    own: Own = imported(name, "reward.function", "function")
    return own


def own_parts(function: Own, text: str, question: Question, where: str) -> dict[str, float]:
    """Parts by name, each in [0, 1]. Raises StriveError that begins with `where` for anything else."""
    try:
        result = function(text, question)
    except Exception as error:  # Any: the code is the user's. It is named, and stops the run.
        raise StriveError(f"{where} raised {_described(error)}") from error
    named = result if isinstance(result, Mapping) else {ONE: result}
    return {str(part): _checked(value, part, where) for part, value in named.items()}


def _checked(value: object, part: object, where: str) -> float:
    if not isinstance(part, str) or not part.isidentifier() or part == "total":
        raise StriveError(f"{where} gave a part called {part!r}, expected a plain name other than total")
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise StriveError(f"{where} gave {part} = {value!r}, expected a number from 0 to 1")
    return float(value)


def _described(error: Exception) -> str:
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
