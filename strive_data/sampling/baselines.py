"""The samplers that ours is compared with: uniform (the control), top-K, Gumbel top-K, BOLT and AKS.

Each is the published method in its plainest form. The M variants of topk, bolt and aks are identical.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.sampling.comb import comb, distinct
from strive_data.sampling.density import Float64s, inclusion, z_scores
from strive_data.schema import Floats, Indices


def uniform_indices(count: int, frames: int) -> Indices:
    """Midpoint-uniform sampling ⌊(k+½)·N/K⌋, int32 [min(K, N)]: the control of every comparison."""
    if count <= frames:
        return np.arange(count, dtype=np.int32)
    return ((2 * np.arange(frames, dtype=np.int64) + 1) * count // (2 * frames)).astype(np.int32)


def uniform_variants(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
    """Interleaved combs over equal shares, int32 [M, min(K, N)]. M = 1 and φ = ½: `uniform_indices`."""
    flat_N = np.full(len(scores_N), 1 / len(scores_N))
    pi_N = inclusion(flat_N, frames=settings.frames, kappa=1.0)
    return comb(pi_N, frames=settings.frames, variants=settings.variants, offset=offset)


def best(values_N: Floats | Float64s, frames: int) -> Indices:
    """The `frames` largest values' places, increasing, int32 [min(K, N)]; of equal values the earliest."""
    return np.sort(np.argsort(-values_N, kind="stable")[:frames]).astype(np.int32)


def topk_variants(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
    """The best K scores, M times the same, int32 [M, min(K, N)]."""
    return np.tile(best(scores_N, settings.frames), (settings.variants, 1))


def gumbel_variants(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
    """K draws without replacement from softmax(z/τ), τ = `gumbel_tau`, int32 [M, min(K, N)].

    They are the best K of z/τ + Gumbel noise, with fresh noise for each variant.
    The noise is keyed by φ alone, so that an offset decides everything, as it does for the other samplers.
    """
    z_N = z_scores(scores_N)
    noise_MN = gumbel_noise(offset, settings.variants * z_N.size).reshape(settings.variants, -1)
    return np.stack([best(row_N, settings.frames) for row_N in z_N / settings.gumbel_tau + noise_MN])


def gumbel_noise(offset: float, count: int) -> Float64s:
    """Standard Gumbel draws −log(−log u), float64 [count]; raw Philox bits keyed by the 53 bits of φ."""
    bits = np.random.Philox(key=int(offset * 2**53)).random_raw(count)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    noise: Float64s = -np.log(-np.log(uniform))
    return noise


def bolt_variants(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
    """BOLT: the first i with C_i > (k+1)/(K+1), int32 [M, min(K, N)].

    C is the running share of ((s−min)/(max−min))^p, p = `bolt_power`. A frame found twice is replaced by its
    next neighbour, so that K frames are distinct. Flat scores: uniform.
    """
    count, frames = len(scores_N), settings.frames
    scores = scores_N.astype(np.float64)
    low, high = scores.min(), scores.max()
    if count <= frames or low == high:
        return np.tile(uniform_indices(count, frames), (settings.variants, 1))
    share_N = np.cumsum(((scores - low) / (high - low)) ** settings.bolt_power)
    grid_K = (np.arange(frames) + 1) / (frames + 1)
    row_K = distinct(np.searchsorted(share_N, grid_K * share_N[-1], side="right"), count)
    return np.tile(row_K, (settings.variants, 1))


DEEPEST = 5
Leaf = tuple[int, int, int]


def aks_variants(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
    """AKS: each part gives its best ⌊K/2^depth⌋ frames; int32 [M, min(K, N)]. Flat scores: uniform.

    What the rounding leaves open, the best of all other frames fill, so that there are exactly K.
    """
    count, frames = len(scores_N), settings.frames
    scores = scores_N.astype(np.float64)
    low, high = scores.min(), scores.max()
    if count <= frames or low == high:
        return np.tile(uniform_indices(count, frames), (settings.variants, 1))
    share_N = (scores - low) / (high - low)
    parts = list(leaves(share_N, frames=frames, threshold=settings.aks_threshold))
    starts, ends, depths = np.array(parts).T
    part_N = np.repeat(np.arange(len(parts)), ends - starts)
    ranked_N = np.lexsort((-share_N, part_N))
    rank_N = np.arange(count) - starts[part_N]
    chosen_N = np.zeros(count, dtype=bool)
    chosen_N[ranked_N[rank_N < (frames >> depths)[part_N]]] = True
    chosen_N[best(np.where(chosen_N, -1.0, share_N), frames - int(chosen_N.sum()))] = True
    return np.tile(np.flatnonzero(chosen_N).astype(np.int32), (settings.variants, 1))


def leaves(share_N: Float64s, *, frames: int, threshold: float) -> Iterator[Leaf]:
    """(start, end, depth) of the parts of min-max scores, in order; depth at most min(5, ⌊log2 K⌋).

    A part is halved unless mean(its best K) − mean(all of it) > `threshold`. N ≥ K, so that none is empty.
    """
    deepest = min(DEEPEST, frames.bit_length() - 1)
    sums = np.concatenate([[0.0], np.cumsum(share_N)]).tolist()

    def stands_out(start: int, end: int) -> bool:
        if end - start <= frames:
            return False
        best_sum = float(np.partition(share_N[start:end], -frames)[-frames:].sum())
        mean: float = (sums[end] - sums[start]) / (end - start)
        return best_sum / frames - mean > threshold

    def split(start: int, end: int, depth: int) -> Iterator[Leaf]:
        if depth == deepest or stands_out(start, end):
            yield start, end, depth
            return
        middle = start + (end - start) // 2
        yield from split(start, middle, depth + 1)
        yield from split(middle, end, depth + 1)

    return split(0, share_N.size, 0)
