"""Scorers by name: those of this package, entry points, and custom scorers by import path.

The contract of a custom scorer: a class that is called with the `ScoreSettings` and gives an object with
`name` (str) and `score(candidates, questions)`, which returns for each question, in order, a FrameScores with
float32 [N], or a SampleError where that question alone cannot be scored. No other setting names code to
import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

from strive_data.common.imports import imported
from strive_data.common.settings import choose, require, require_device
from strive_data.config import ScoreSettings
from strive_data.errors import SampleError, UsageError
from strive_data.schema import Candidates, Question
from strive_data.score.cascade import CascadeScorer
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.score.scorer import FlatScorer, FrameScores, NoisyScorer, Scorer

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
        return [
            replace(result, scorer=result.scorer or self.name) if isinstance(result, FrameScores) else result
            for result in results
        ]


def entry_point_names() -> list[str]:
    """Names of the scorers that installed packages offer."""
    return sorted(entry_points(group=GROUP).names)


def load_custom(name: str, settings: ScoreSettings) -> CustomScorer:
    """The scorer `package.module:ClassName`, or that of an entry point, made with `settings`.

    Raises UsageError where it cannot be imported, does not take the settings, or is no scorer.
    """
    if ":" in name:
        kind = imported(name, "scorer", "class")
    else:
        (entry,) = entry_points(group=GROUP, name=name)
        kind = imported(f"{entry.module}:{entry.attr}", f"scorer {name}, entry point", "class")
    try:
        scorer = kind(settings)
    except (TypeError, ValueError) as error:
        raise UsageError(_refusal(name, kind, error)) from error
    if not isinstance(getattr(scorer, "name", None), str) or not callable(getattr(scorer, "score", None)):
        raise UsageError(
            f"scorer {name}: {type(scorer).__name__} has no `name` (str) and `score(candidates, questions)`"
        )
    return CustomScorer(scorer, name)


def _refusal(name: str, kind: Any, error: Exception) -> str:
    """What was named, what it raised and in which line, and what is expected."""
    what = f"class {kind.__name__}" if isinstance(kind, type) else f"{type(kind).__name__}, no class,"
    said = (str(error).splitlines() or [""])[0]
    inside = extract_tb(error.__traceback__)[1:]
    where = f" ({inside[-1].filename}, line {inside[-1].lineno})" if inside else ""
    return (
        f"scorer {name}: {what} raised {type(error).__name__}: {said}{where}; expected a class that is made "
        "with the ScoreSettings as its only argument (contract: strive_data/score/registry.py)"
    )


def _check(result: object, count: int, wrong: str) -> None:
    if isinstance(result, SampleError):
        return
    if not isinstance(result, FrameScores):
        raise UsageError(f"{wrong} a {type(result).__name__}, expected FrameScores or SampleError")
    scores: object = result.scores
    got = f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, np.ndarray) else type(scores).__name__
    if got != f"float32 [{count}]":
        raise UsageError(f"{wrong} scores {got}, expected float32 [{count}], one for each candidate")


DEMO_MODEL = Path(__file__).parent / "demo_clip"

# Of `demo-noisy`: evidence of the hard level then scores above other frames with an AUC of .75.
DEMO_NOISE = 0.8


def make_scorer(settings: ScoreSettings, *, threads: int | None = None) -> Scorer:
    """The scorer that `settings` name, ready to score; `threads` of the CPU, or as torch has it.

    Raises SettingsError for an unknown name and UsageError for weights that cannot be loaded.
    """
    name = settings.scorer
    if name not in SCORERS and (":" in name or name in entry_point_names()):
        return load_custom(name, settings)
    return SCORERS[choose(name, {*SCORERS, *entry_point_names()}, "scorer")](settings, threads)


def _clip(settings: ScoreSettings, threads: int | None) -> Scorer:
    require_device("score.device", settings.device)
    # Imported here: torch takes seconds, and reading settings or shards needs none.
    from strive_data.score.clip import ClipScorer

    return ClipScorer(settings, threads=threads)


def _demo(settings: ScoreSettings, threads: int | None) -> Scorer:
    """The tiny CLIP of the package (tools/train_tiny_clip.py), loaded as any other local folder."""
    return _clip(replace(settings, model=f"local-dir:{DEMO_MODEL}", pretrained=""), threads)


def _vlm(settings: ScoreSettings, threads: int | None) -> Scorer:
    require_device("score.device", settings.device)
    from strive_data.score.vlm import FRAME_QUESTION, RERANK, VlmScorer

    form = RERANK if settings.scorer == "qwen3-vl-reranker" else FRAME_QUESTION
    return VlmScorer(settings, threads=threads, form=form)


def _blip(settings: ScoreSettings, threads: int | None) -> Scorer:
    require_device("score.device", settings.device)
    from strive_data.score.blip import BlipScorer

    return BlipScorer(settings, threads=threads)


def _cascade(settings: ScoreSettings, threads: int | None) -> Scorer:
    for part in ("cascade_first", "cascade_second"):
        nested = getattr(settings, part) == "cascade"
        require(not nested, f"score.{part}: a cascade cannot be a part of a cascade; name another scorer")
    looked_up = settings.cascade_second == "precomputed"
    require(not looked_up, "score.cascade_second: precomputed scores cost nothing; use --scorer precomputed")
    first = replace(settings, scorer=settings.cascade_first)
    second = replace(settings, scorer=settings.cascade_second, model=settings.cascade_model)
    scorers = (make_scorer(part, threads=threads) for part in (first, second))
    return CascadeScorer(*scorers, share=settings.cascade_share)


SCORERS: dict[str, Callable[[ScoreSettings, int | None], Scorer]] = {
    "blip-itm": _blip,
    "cascade": _cascade,
    "clip": _clip,
    "demo": _demo,
    "demo-noisy": lambda settings, threads: NoisyScorer(_demo(settings, threads), DEMO_NOISE),
    "flat": lambda settings, threads: FlatScorer(),
    "precomputed": lambda settings, threads: PrecomputedScorer(settings),
    "qwen3-vl-reranker": _vlm,
    "vlm": _vlm,
}
