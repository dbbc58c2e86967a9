"""The samplers by name, behind one interface; those that ours are compared with; semantic grouping.

Ours are compared with uniform (the control), top-K, Gumbel top-K, BOLT and AKS, each the published method in
its plainest form. The M variants of topk, bolt and aks are identical.

Grouping makes of frames that look alike the order of the comb. The paper groups semantically [paper]; this
construction is ours. It changes no frame's inclusion, only which frames are neighbours in that order, so that
a variant takes its frames from different groups of each stretch of time. Shapes: N candidates, D embedding
width, C clusters, B time bins, K frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from strive_data.common.settings import choose
from strive_data.config import SamplerSettings
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.sampling.comb import (
    Float64s,
    comb,
    comb_or_peaks,
    distinct,
    finite,
    inclusion,
    inclusion_of,
    z_scores,
)
from strive_data.schema import Floats, Indices, Times


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


def _by_shares(row_of: Callable[[Float64s, SamplerSettings], Indices]) -> Sampler:
    """The sampler whose M variants are all the row of the min-max scores [N], N > K; flat scores: uniform."""

    def sampler(scores_N: Floats | Float64s, settings: SamplerSettings, offset: float) -> Indices:
        scores, row_K = scores_N.astype(np.float64), uniform_indices(len(scores_N), settings.frames)
        low, high = scores.min(), scores.max()
        if len(scores) > settings.frames and low < high:
            row_K = row_of((scores - low) / (high - low), settings)
        return np.tile(row_K, (settings.variants, 1))

    return sampler


def bolt_row(share_N: Float64s, settings: SamplerSettings) -> Indices:
    """BOLT: the first i with C_i > (k+1)/(K+1), int32 [K].

    C is the running share of ((s−min)/(max−min))^p, p = `bolt_power`. A frame found twice is replaced by its
    next neighbour, so that K frames are distinct.
    """
    running_N = np.cumsum(share_N**settings.bolt_power)
    grid_K = (np.arange(settings.frames) + 1) / (settings.frames + 1)
    return distinct(np.searchsorted(running_N, grid_K * running_N[-1], side="right"), share_N.size)


DEEPEST = 5
Leaf = tuple[int, int, int]


def aks_row(share_N: Float64s, settings: SamplerSettings) -> Indices:
    """AKS: each part gives its best ⌊K/2^depth⌋ frames; int32 [K].

    What the rounding leaves open, the best of all other frames fill, so that there are exactly K.
    """
    count, frames = share_N.size, settings.frames
    parts = list(leaves(share_N, frames=frames, threshold=settings.aks_threshold))
    starts, ends, depths = np.array(parts).T
    part_N = np.repeat(np.arange(len(parts)), ends - starts)
    ranked_N = np.lexsort((-share_N, part_N))
    rank_N = np.arange(count) - starts[part_N]
    chosen_N = np.zeros(count, dtype=bool)
    chosen_N[ranked_N[rank_N < (frames >> depths)[part_N]]] = True
    chosen_N[best(np.where(chosen_N, -1.0, share_N), frames - int(chosen_N.sum()))] = True
    return np.flatnonzero(chosen_N).astype(np.int32)


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


ITERATIONS, STARTS = 25, 10


def comb_order(pi_N: Float64s, embeddings_ND: Floats, times_N: Times, settings: SamplerSettings) -> Indices:
    """Order of the candidates, a permutation int32 [N], with the clusters and bins that the settings ask for.

    Raises SampleError (score_failed) for embeddings that are not finite, or not one for each candidate.
    """
    clusters_N = cluster_frames(embeddings_ND, times_N, settings)
    bins = settings.grouping_bins or max(1, settings.frames // 4)
    return serpentine(pi_N, clusters_N, times_N, bins=bins)


def cluster_frames(embeddings_ND: Floats, times_N: Times, settings: SamplerSettings) -> Indices:
    """Cluster of each candidate, int32 [N], numbered 0..C−1 in the order of their mean times.

    Spherical k-means on [e_i, β·t_i], e_i of unit length, t_i from 0 to 1 over the video, β =
    `grouping_time`; C = `grouping_clusters`, by default ⌈√K⌉. Near-duplicates (cosine of at least
    `grouping_duplicates` with an earlier kept frame) take no part in it and follow that frame, so that
    a long still shot does not draw the centres to itself. Deterministic in its arguments.
    """
    embeddings = np.asarray(embeddings_ND, dtype=np.float64)
    if embeddings.ndim != 2 or len(embeddings) != len(times_N) or not np.isfinite(embeddings).all():
        message = f"embeddings of shape {embeddings.shape} for {len(times_N)} frames, or not all finite"
        raise SampleError(FailureKind.SCORE_FAILED, message)
    units_ND = _unit(embeddings)
    kept_N = first_alike(units_ND, settings.grouping_duplicates)
    kept, back_N = np.unique(kept_N, return_inverse=True)
    span = times_N.max() - times_N.min() or 1.0
    shares_N = settings.grouping_time * (times_N - times_N.min()) / span
    points = _unit(np.concatenate([units_ND, shares_N[:, None]], axis=1)[kept])
    count = settings.grouping_clusters or math.isqrt(settings.frames - 1) + 1
    labels_N = _kmeans(points, min(count, len(kept)))[back_N]
    _, labels_N = np.unique(labels_N, return_inverse=True)
    means_C = np.bincount(labels_N, weights=times_N) / np.bincount(labels_N)
    rank_C = np.argsort(np.argsort(means_C, kind="stable"), kind="stable")
    return rank_C[labels_N].astype(np.int32)


def serpentine(pi_N: Float64s, clusters_N: Indices, times_N: Times, *, bins: int) -> Indices:
    """Candidates sorted by (time bin of equal mass, cluster, time), int32 [N].

    Every other bin takes the clusters backwards, so that the order enters the next bin within a cluster.
    One bin: purely semantic; as many bins as frames: nearly purely temporal.
    """
    middles_N = np.cumsum(pi_N) - pi_N / 2
    bin_N = np.minimum((middles_N * bins / pi_N.sum()).astype(np.int64), bins - 1)
    turned_N = np.where(bin_N % 2 == 0, clusters_N, -clusters_N.astype(np.int64))
    return np.lexsort((times_N, turned_N, bin_N)).astype(np.int32)


def first_alike(units_ND: Float64s, least_cosine: float) -> npt.NDArray[np.int64]:
    """For each frame the earliest kept frame with at least that cosine, or itself, which is then kept."""
    kept_N = np.arange(len(units_ND))
    if least_cosine >= 1:
        return kept_N
    kept: list[int] = []
    for i, unit_D in enumerate(units_ND):
        alike = np.flatnonzero(units_ND[kept] @ unit_D >= least_cosine)
        if alike.size:
            kept_N[i] = kept[alike[0]]
        else:
            kept.append(i)
    return kept_N


def _unit(rows_ND: Float64s) -> Float64s:
    lengths = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    units: Float64s = rows_ND / np.where(lengths > 0, lengths, 1)
    return units


def _kmeans(points: Float64s, clusters: int) -> npt.NDArray[np.int64]:
    """Cluster of each point by faiss; its seed is fixed."""
    # Loaded here, so that who never groups does not load a second OpenMP beside torch's.
    import faiss

    rows = np.ascontiguousarray(points, dtype=np.float32)
    kmeans = faiss.Kmeans(
        rows.shape[1],
        clusters,
        niter=ITERATIONS,
        nredo=STARTS,
        seed=0,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    kmeans.train(rows)
    _, labels = kmeans.index.search(rows, 1)
    found: npt.NDArray[np.int64] = labels[:, 0]
    return found


def _ordered(name: str) -> Sampler:
    return lambda scores_N, settings, offset: comb_or_peaks(
        name, inclusion_of(scores_N, settings), scores_N, settings, offset
    )


Sampler = Callable[[Floats | Float64s, SamplerSettings, float], Indices]
# These go through the candidates in an order, and take each by its inclusion.
ORDERED = ("comb", "peaks")
SAMPLERS: dict[str, Sampler] = {
    "aks": _by_shares(aks_row),
    "bolt": _by_shares(bolt_row),
    "gumbel": gumbel_variants,
    "topk": topk_variants,
    "uniform": uniform_variants,
    **{name: _ordered(name) for name in ORDERED},
}
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
    order_N = comb_order(pi_N, embeddings, times, settings)
    return comb_or_peaks(name, pi_N, scores_N, settings, offset, order_N)


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
    return np.stack([comb_or_peaks(name, pi_N, scores_N, settings, float(at)) for scores_N, at, pi_N in rows])
