"""Scorers by name: those of this package, entry points, and custom scorers; those made of other scorers.

The contract of a custom scorer: a class that is called with the `ScoreSettings` and gives an object with
`name` (str) and `score(candidates, questions)`, which returns for each question, in order, a FrameScores with
float32 [N], or a SampleError where that question alone cannot be scored. No other setting names code to
import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import entry_points
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np
import numpy.typing as npt

from strive_data.common.hub import require_hub
from strive_data.common.imports import imported
from strive_data.common.settings import require, require_device
from strive_data.config import SCORER_GROUP, ScoreSettings, require_scorer
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Indices, Question
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.score.scorer import OFFLINE_HINT, FlatScorer, FrameEmbedder, FrameScores, Scorer


class CascadeScorer:
    """A cheap scorer for all candidates, a costly one for the best `share` of them, question by question.

    The rule that makes one scale of two: the refined candidates keep the second scorer's scores t as they
    are. All others are below, in the first scorer's order, with its distances: a candidate that the first
    scored d below the last refined one gets min(t) - d·(std of t)/(std of all first scores). So one spread of
    the first scorer over the video counts as one spread of the second over what it refined, no unrefined
    candidate is above a refined one, and two candidates change places only where both were refined. Where
    either spread is 0, d counts as it is.

    Where the first embeds frames, so does the cascade (FrameEmbedder): they can be grouped and stored.
    """

    def __init__(self, first: Scorer, second: Scorer, *, share: float) -> None:
        self._first, self._second, self._share = first, second, share
        self.name = f"{first.name} > {share:g} {second.name}"
        if isinstance(first, FrameEmbedder):
            self.embed_frames = first.embed_frames

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """Scores on the second scorer's scale (rule above). A question that either scorer cannot score
        gets its SampleError in its place."""
        coarse = self._first.score(candidates, questions)
        return [
            result if isinstance(result, SampleError) else self._refine(candidates, question, result)
            for question, result in zip(questions, coarse, strict=True)
        ]

    def _refine(
        self, candidates: Candidates, question: Question, coarse: FrameScores
    ) -> FrameScores | SampleError:
        if not np.isfinite(coarse.scores).all():
            return SampleError(FailureKind.SCORE_FAILED, f"{self._first.name}: scores are not finite")
        best = best_share(coarse.scores, self._share)
        chosen = replace(candidates, frames=candidates.frames[best], times=candidates.times[best])
        try:
            (fine,) = self._second.score(chosen, [question])
        except SampleError as error:
            return error
        if isinstance(fine, SampleError):
            return fine
        scores = join(coarse.scores, fine.scores, best)
        return replace(coarse, scores=scores, windows=max(coarse.windows, fine.windows), scorer=self.name)


def best_share(scores: Floats, share: float) -> Indices:
    """Indices int32 of the best ⌈share·N⌉ of scores [N], at least one, increasing; of equals the earlier."""
    count = max(1, ceil(share * len(scores) - 1e-9))
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    return np.sort(order[:count]).astype(np.int32)


def join(coarse: Floats, fine: Floats, best: Indices) -> Floats:
    """Scores float32 [N] of `coarse` [N] and `fine` [B], those of the candidates `best` [B]
    (CascadeScorer)."""
    if len(fine) != len(best):
        raise SampleError(FailureKind.SCORE_FAILED, f"{len(fine)} scores for {len(best)} refined candidates")
    below: npt.NDArray[np.float64] = coarse[best].min().astype(np.float64) - coarse.astype(np.float64)
    spreads = float(coarse.astype(np.float64).std()), float(fine.astype(np.float64).std())
    slope = spreads[1] / spreads[0] if min(spreads) > 0 else 1.0
    scores = (float(fine.min()) - slope * below).astype(np.float32)
    scores[best] = fine
    return scores


class NoisyScorer:
    """Another scorer whose scores get normal noise of `sigma`, in the scorer's own units.

    The noise of a question depends on its sample id alone, so equal builds stay equal. Where the scorer
    embeds frames, so does this one (FrameEmbedder): they can be grouped and stored.
    """

    def __init__(self, scorer: Scorer, sigma: float) -> None:
        self._scorer, self._sigma = scorer, sigma
        self.name = f"{scorer.name}+noise{sigma:g}"
        if isinstance(scorer, FrameEmbedder):
            self.embed_frames = scorer.embed_frames

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """What the scorer gives, with noise."""
        results = self._scorer.score(candidates, questions)
        return [
            result if isinstance(result, SampleError) else self._noisy(result, question.sample_id)
            for result, question in zip(results, questions, strict=True)
        ]

    def _noisy(self, clean: FrameScores, sample_id: str) -> FrameScores:
        key = int.from_bytes(sha256(sample_id.encode()).digest()[:16], "little")
        noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(len(clean.scores))
        scores = (clean.scores + self._sigma * noise).astype(np.float32)
        return replace(clean, scores=scores, scorer=self.name)


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


def load_custom(name: str, settings: ScoreSettings) -> CustomScorer:
    """The scorer `package.module:ClassName`, or that of an entry point, made with `settings`.

    Raises UsageError where it cannot be imported, does not take the settings, or is no scorer.
    """
    if ":" in name:
        kind = imported(name, "scorer", "class")
    else:
        (entry,) = entry_points(group=SCORER_GROUP, name=name)
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
# How files of weights are called in the repositories from which open_clip takes its tags.
WEIGHT_FILES = ("*_model.*", "*clip*")


def make_scorer(settings: ScoreSettings) -> Scorer:
    """The scorer that `settings` name, ready to score.

    Raises SettingsError for an unknown name and UsageError for weights that cannot be loaded.
    """
    name = settings.scorer
    require_scorer(name)
    return SCORERS[name](settings) if name in SCORERS else load_custom(name, settings)


def _clip(settings: ScoreSettings) -> Scorer:
    require_device("score.device", settings.device)
    _require_clip(settings)
    # Imported here: torch takes seconds, and reading settings or shards needs none.
    from strive_data.score.clip import ClipScorer

    return ClipScorer(settings)


def _require_clip(settings: ScoreSettings) -> None:
    """Raise UsageError for weights that are neither here nor to be had from a hub. Names that open_clip does
    not know pass: with them it says more."""
    place, _, name = settings.model.rpartition(":")
    if place == "hf-hub":
        require_hub(f"score: {settings.model}", OFFLINE_HINT, repository=name.partition("@")[0])
    package = find_spec("open_clip")
    known = Path(package.origin or "").parent / "model_configs" / f"{name}.json" if package else None
    if not place and known and known.is_file() and not Path(settings.pretrained).is_file():
        what = f"score: weights {settings.pretrained} of {name}: no such file"
        require_hub(what, OFFLINE_HINT, files=WEIGHT_FILES)


def _demo(settings: ScoreSettings) -> Scorer:
    """The tiny CLIP of the package (tools/train_tiny_clip.py), loaded as any other local folder."""
    return _clip(replace(settings, model=f"local-dir:{DEMO_MODEL}", pretrained=""))


def _of_transformers(settings: ScoreSettings) -> Scorer:
    """Raises UsageError for a model that is neither here nor to be had from a hub."""
    require_device("score.device", settings.device)
    if not Path(settings.model).exists():
        what = f"score: {settings.model}: no such folder"
        require_hub(what, "give a folder, --set score.model=/path/to/folder", repository=settings.model)
    from strive_data.score.vlm import FRAME_QUESTION, RERANK, BlipScorer, VlmScorer

    if settings.scorer == "blip-itm":
        return BlipScorer(settings)
    return VlmScorer(settings, RERANK if settings.scorer == "qwen3-vl-reranker" else FRAME_QUESTION)


def _cascade(settings: ScoreSettings) -> Scorer:
    for part in ("cascade_first", "cascade_second"):
        nested = getattr(settings, part) == "cascade"
        require(not nested, f"score.{part}: a cascade cannot be a part of a cascade; name another scorer")
    looked_up = settings.cascade_second == "precomputed"
    require(not looked_up, "score.cascade_second: precomputed scores cost nothing; use --scorer precomputed")
    first = replace(settings, scorer=settings.cascade_first)
    second = replace(settings, scorer=settings.cascade_second, model=settings.cascade_model)
    return CascadeScorer(make_scorer(first), make_scorer(second), share=settings.cascade_share)


SCORERS: dict[str, Callable[[ScoreSettings], Scorer]] = {
    "blip-itm": _of_transformers,
    "cascade": _cascade,
    "clip": _clip,
    "demo": _demo,
    "demo-noisy": lambda settings: NoisyScorer(_demo(settings), DEMO_NOISE),
    "flat": lambda settings: FlatScorer(),
    "precomputed": PrecomputedScorer,
    "qwen3-vl-reranker": _of_transformers,
    "vlm": _of_transformers,
}
