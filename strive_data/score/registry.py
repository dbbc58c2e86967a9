"""Scorers by name: those of this package, entry points, import paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from strive_data.common.settings import choose, require
from strive_data.config import ScoreSettings
from strive_data.score.cascade import make_cascade
from strive_data.score.plugin import entry_point_names, load_custom
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.score.scorer import FlatScorer, NoisyScorer, Scorer

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
    # Imported here: torch takes seconds, and reading settings or shards needs none.
    from strive_data.score.clip import ClipScorer

    return ClipScorer(settings, threads=threads)


def _demo(settings: ScoreSettings, threads: int | None) -> Scorer:
    """The tiny CLIP of the package (tools/train_tiny_clip.py), loaded as any other local folder."""
    return _clip(replace(settings, model=f"local-dir:{DEMO_MODEL}", pretrained=""), threads)


def _demo_noisy(settings: ScoreSettings, threads: int | None) -> Scorer:
    return NoisyScorer(_demo(settings, threads), DEMO_NOISE)


def _vlm(settings: ScoreSettings, threads: int | None) -> Scorer:
    from strive_data.score.vlm import VlmScorer

    return VlmScorer(settings, threads=threads)


def _reranker(settings: ScoreSettings, threads: int | None) -> Scorer:
    from strive_data.score.vlm import RERANK, VlmScorer

    return VlmScorer(settings, threads=threads, form=RERANK)


def _blip(settings: ScoreSettings, threads: int | None) -> Scorer:
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
    return make_cascade(
        make_scorer(first, threads=threads),
        make_scorer(second, threads=threads),
        share=settings.cascade_share,
    )


def _flat(settings: ScoreSettings, threads: int | None) -> Scorer:
    return FlatScorer()


def _precomputed(settings: ScoreSettings, threads: int | None) -> Scorer:
    return PrecomputedScorer(settings)


SCORERS: dict[str, Callable[[ScoreSettings, int | None], Scorer]] = {
    "blip-itm": _blip,
    "cascade": _cascade,
    "clip": _clip,
    "demo": _demo,
    "demo-noisy": _demo_noisy,
    "flat": _flat,
    "precomputed": _precomputed,
    "qwen3-vl-reranker": _reranker,
    "vlm": _vlm,
}
