"""The K best frames: relevance without coverage. A baseline; its M variants are identical."""

from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import Float64s
from strive_data.schema import Floats, Indices


def best(values_N: Floats | Float64s, frames: int) -> Indices:
    """The `frames` largest values' places, increasing, int32 [min(K, N)]; of equal values the earliest."""
    return np.sort(np.argsort(-values_N, kind="stable")[:frames]).astype(np.int32)


def topk_variants(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """The best K scores, M times the same, int32 [M, min(K, N)]."""
    return np.tile(best(scores_N, settings.frames), (settings.variants, 1))
