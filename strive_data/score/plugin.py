"""A custom scorer, named by import path or entry point. No other setting names code to import.

The contract: a class that is called with the `ScoreSettings` and gives an object with `name` (str) and
`score(candidates, questions)`, which returns for each question, in order, a FrameScores with float32 [N], or
a SampleError where that question alone cannot be scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from traceback import extract_tb
from typing import Any

import numpy as np

from strive_data.common.imports import imported
from strive_data.config import ScoreSettings
from strive_data.errors import SampleError, UsageError
from strive_data.schema import Candidates, Question
from strive_data.score.scorer import FrameScores, Scorer

GROUP = "strive_data.scorers"


class CustomScorer:
    """A custom scorer whose results are checked against the contract."""

    def __init__(self, scorer: Scorer, where: str) -> None:
        self._scorer, self._where = scorer, where
        self.name = scorer.name

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """What the scorer gives; UsageError for anything that is not in the contract."""
        results = self._scorer.score(candidates, questions)
        wrong = f"scorer {self._where}: score() gave"
        if not isinstance(results, Sequence) or len(results) != len(questions):
            size = f"{len(results)} results" if isinstance(results, Sequence) else type(results).__name__
            raise UsageError(f"{wrong} {size}, expected a list of {len(questions)}, one for each question")
        for result in results:
            _check(result, len(candidates.times), wrong)
        return list(results)


def entry_point_names() -> list[str]:
    """Names of the scorers that installed packages offer."""
    return sorted(entry_points(group=GROUP).names)


def load_custom(name: str, settings: ScoreSettings) -> CustomScorer:
    """The scorer `package.module:ClassName`, or that of an entry point, made with `settings`.

    Raises UsageError where it cannot be imported, does not take the settings, or is no scorer.
    """
    kind = _class_of(name)
    try:
        scorer = kind(settings)
    except (TypeError, ValueError) as error:
        raise UsageError(_refusal(name, kind, error)) from error
    if not isinstance(getattr(scorer, "name", None), str) or not callable(getattr(scorer, "score", None)):
        raise UsageError(
            f"scorer {name}: {type(scorer).__name__} has no `name` (str) and `score(candidates, questions)`"
        )
    return CustomScorer(scorer, name)


def _class_of(name: str) -> Any:
    if ":" not in name:
        (entry,) = entry_points(group=GROUP, name=name)
        return _loaded(entry, name)
    return imported(name, "scorer", "class")


def _loaded(entry: EntryPoint, name: str) -> Any:
    try:
        kind = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"scorer {name}: entry point {entry.value} cannot be loaded: {error}") from error
    if not callable(kind):
        raise UsageError(f"scorer {name}: entry point {entry.value} is no class")
    return kind


def _refusal(name: str, kind: Any, error: Exception) -> str:
    """What was named, what it raised and in which line, and what is expected."""
    what = f"class {kind.__name__}" if isinstance(kind, type) else f"{type(kind).__name__}, no class,"
    said = (str(error).splitlines() or [""])[0]
    inside = extract_tb(error.__traceback__)[1:]
    where = f" ({inside[-1].filename}, line {inside[-1].lineno})" if inside else ""
    return (
        f"scorer {name}: {what} raised {type(error).__name__}: {said}{where}; expected a class that is made "
        "with the ScoreSettings as its only argument (contract: strive_data/score/plugin.py)"
    )


def _check(result: object, count: int, wrong: str) -> None:
    if isinstance(result, SampleError):
        return
    if not isinstance(result, FrameScores):
        raise UsageError(f"{wrong} a {type(result).__name__}, expected FrameScores or SampleError")
    scores = result.scores
    if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape != (count,):
        got = (
            f"{scores.dtype} {list(scores.shape)}"
            if isinstance(scores, np.ndarray)
            else type(scores).__name__
        )
        raise UsageError(f"{wrong} scores {got}, expected float32 [{count}], one for each candidate")
