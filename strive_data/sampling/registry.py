"""The samplers by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from strive_data.common.settings import choose
from strive_data.config import SamplerSettings
from strive_data.errors import SettingsError
from strive_data.sampling.baselines import (
    aks_variants,
    bolt_variants,
    gumbel_variants,
    topk_variants,
    uniform_variants,
)
from strive_data.sampling.comb import comb_variants, inclusion_of
from strive_data.sampling.density import Float64s, finite
from strive_data.sampling.grouping import comb_order
from strive_data.sampling.peaks import peaks_variants
from strive_data.schema import Floats, Indices, Times

Sampler = Callable[[Floats | Float64s, SamplerSettings, float], Indices]
OrderedSampler = Callable[
    [Floats | Float64s, SamplerSettings, float, Float64s | None, Indices | None], Indices
]

SAMPLERS: dict[str, Sampler] = {
    "aks": aks_variants,
    "bolt": bolt_variants,
    "comb": comb_variants,
    "gumbel": gumbel_variants,
    "peaks": peaks_variants,
    "topk": topk_variants,
    "uniform": uniform_variants,
}
ORDERED: dict[str, OrderedSampler] = {"comb": comb_variants, "peaks": peaks_variants}
# To these φ is a key of noise and no position: φ = ½ for every video would give them all the same noise.
NOISY = frozenset({"gumbel"})
# Their M variants are identical.
SINGLE = frozenset({"aks", "bolt", "topk"})


def needs_embeddings(settings: SamplerSettings) -> bool:
    """Whether the sampler draws by frame embeddings."""
    return settings.grouping == "semantic" and settings.name in ORDERED


def require_order(settings: SamplerSettings) -> None:
    """Raise SettingsError where frames are grouped for a sampler that goes through them in no order."""
    if settings.grouping != "none" and settings.name not in ORDERED:
        raise SettingsError(
            f"sampler.grouping: it changes nothing for the sampler {settings.name!r}, only for "
            f"{' and '.join(ORDERED)}; set it to none"
        )


def draw(
    name: str,
    scores_N: Floats,
    settings: SamplerSettings,
    *,
    offset: float,
    embeddings: Floats | None = None,
    times: Times | None = None,
) -> Indices:
    """Variants of one sample by the sampler called `name`, int32 [M, min(K, N)], rows strictly increasing.

    `embeddings` float32 [N, D] and `times` [N] in seconds are needed where the settings group frames and the
    sampler is in ORDERED. Deterministic in its arguments. Raises SettingsError for an unknown name or
    where those are missing, and SampleError (score_failed) for scores that are not finite.
    """
    sampler = SAMPLERS[choose(name, SAMPLERS, "sampler")]
    finite(scores_N)
    if not needs_embeddings(replace(settings, name=name)):
        return sampler(scores_N, settings, offset)
    if embeddings is None or times is None:
        raise SettingsError(
            "sampler.grouping = semantic: got no frame embeddings; set it to none, or build with a "
            "scorer that gives embeddings (clip), and shard.embeds=true to draw from shards"
        )
    pi_N = inclusion_of(scores_N, settings)
    return ORDERED[name](scores_N, settings, offset, pi_N, comb_order(pi_N, embeddings, times, settings))


def draw_rows(
    name: str, scores_QN: Floats | Float64s, settings: SamplerSettings, *, offsets_Q: Float64s
) -> Indices:
    """`draw` for many samples of equal length, int32 [Q, M, min(K, N)].

    Without grouping: candidates are in the order of time. The search for τ runs over all samples at once.
    """
    sampler = SAMPLERS[choose(name, SAMPLERS, "sampler")]
    finite(scores_QN)
    if name not in ORDERED:
        pairs = zip(scores_QN, offsets_Q, strict=True)
        return np.stack([sampler(scores_N, settings, float(at)) for scores_N, at in pairs])
    rows = zip(scores_QN, offsets_Q, inclusion_of(scores_QN, settings), strict=True)
    return np.stack([ORDERED[name](scores_N, settings, float(at), pi_N, None) for scores_N, at, pi_N in rows])
