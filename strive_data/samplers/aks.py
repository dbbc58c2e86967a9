"""Adaptive key frame sampling: halve the video until a part's best frames stand out. A baseline.

Its M variants are identical.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import Float64s
from strive_data.samplers.topk import best
from strive_data.samplers.uniform import uniform_indices
from strive_data.schema import Floats, Indices

DEEPEST = 5
Leaf = tuple[int, int, int]


def aks_variants(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """Each part gives its best ⌊K/2^depth⌋ frames; int32 [M, min(K, N)]. Flat scores: uniform.

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
