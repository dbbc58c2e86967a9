"""Semantic grouping: frames that look alike → the order of the comb.

The paper groups semantically [paper]; this construction is ours. It changes no frame's inclusion, only which
frames are neighbours in that order, so that a variant takes its frames from different groups of
each stretch of time. Shapes: N candidates, D embedding width, C clusters, B time bins, K frames.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from strive_data.config import SamplerSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.sampling.comb import Float64s
from strive_data.schema import Floats, Indices, Times

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
    units_ND = _unit(_checked(embeddings_ND, times_N))
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


def _checked(embeddings_ND: Floats, times_N: Times) -> Float64s:
    embeddings = np.asarray(embeddings_ND, dtype=np.float64)
    if embeddings.ndim != 2 or len(embeddings) != len(times_N) or not np.isfinite(embeddings).all():
        message = f"embeddings of shape {embeddings.shape} for {len(times_N)} frames, or not all finite"
        raise SampleError(FailureKind.SCORE_FAILED, message)
    return embeddings


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
