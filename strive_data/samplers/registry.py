"""The samplers by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import Float64s, finite
from strive_data.samplers.aks import aks_variants
from strive_data.samplers.bolt import bolt_variants
from strive_data.samplers.comb import comb_rows, comb_variants
from strive_data.samplers.gumbel import gumbel_rows, gumbel_variants
from strive_data.samplers.topk import topk_variants
from strive_data.samplers.uniform import uniform_variants
from strive_data.schema import Floats, Indices
from strive_data.settings import choose

Sampler = Callable[[Floats, SamplerSettings, float], Indices]
RowSampler = Callable[[Floats | Float64s, SamplerSettings, Float64s], Indices]

SAMPLERS: dict[str, Sampler] = {
    "aks": aks_variants,
    "bolt": bolt_variants,
    "comb": comb_variants,
    "gumbel": gumbel_variants,
    "topk": topk_variants,
    "uniform": uniform_variants,
}
AT_ONCE: dict[str, RowSampler] = {"comb": comb_rows, "gumbel": gumbel_rows}
# To these φ is a key of noise and no position: φ = ½ for every video would give them all the same noise.
NOISY = frozenset({"gumbel"})


def draw(name: str, scores_N: Floats, settings: SamplerSettings, *, phase: float) -> Indices:
    """Variants of one sample by the sampler called `name`, int32 [M, min(K, N)], rows strictly increasing.

    Deterministic in its arguments. Raises SettingsError for an unknown name and SampleError (score_failed)
    for scores that are not finite.
    """
    sampler = SAMPLERS[choose(name, SAMPLERS, "sampler")]
    finite(scores_N)
    return sampler(scores_N, settings, phase)


def draw_rows(
    name: str, scores_QN: Floats | Float64s, settings: SamplerSettings, *, phases_Q: Float64s
) -> Indices:
    """`draw` for many samples of equal length, int32 [Q, M, min(K, N)]; faster where the sampler can be."""
    sampler = SAMPLERS[choose(name, SAMPLERS, "sampler")]
    if name in AT_ONCE:
        return AT_ONCE[name](scores_QN, settings, phases_Q)
    finite(scores_QN)
    pairs = zip(scores_QN, phases_Q, strict=True)
    return np.stack([sampler(scores_N, settings, float(at)) for scores_N, at in pairs])
