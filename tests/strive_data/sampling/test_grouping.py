"""Grouping on rendered-by-hand embeddings: clusters found, order by hand, and the laws of the walk."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.errors import SampleError, SettingsError
from strive_data.sampling.comb import comb, density, inclusion
from strive_data.sampling.samplers import cluster_frames, comb_order, draw, first_alike, serpentine

SCENES = [0] * 10 + [1] * 6 + [2] * 8 + [0] * 6 + [1] * 10


def scenes(width=16, noise=0.1):
    """Embeddings of 40 frames of three scenes, two of which come back; and their times."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, width))
    embeddings = centres[SCENES] + noise * rng.normal(size=(40, width))
    return embeddings.astype(np.float32), np.arange(40) * 2.0 + 1


def same_partition(first, second):
    return len(set(zip(first, second, strict=True))) == len(set(first)) == len(set(second))


def test_scenes_are_found_again_when_time_has_no_weight():
    embeddings, times = scenes()
    chosen = SamplerSettings(frames=8, grouping_clusters=3, grouping_time=0.0)
    clusters = cluster_frames(embeddings, times, chosen)
    assert clusters.dtype == np.int32
    assert same_partition(clusters.tolist(), SCENES)
    # Numbered by mean time: scene 0 (frames 0-9, 24-29), 2 (16-23), 1 (10-15, 30-39).
    assert [clusters[0], clusters[16], clusters[10]] == [0, 1, 2]


def test_time_weighs_in():
    embeddings, times = scenes()
    chosen = SamplerSettings(frames=8, grouping_clusters=3, grouping_time=50.0)
    # Almost only time counts: clusters are stretches.
    assert (np.diff(cluster_frames(embeddings, times, chosen)) >= 0).all()


def test_deterministic_and_blind_to_the_scale_of_embeddings():
    embeddings, times = scenes(noise=1.0)
    chosen = SamplerSettings(frames=16)
    first = cluster_frames(embeddings, times, chosen)
    assert first.max() < 4
    assert (first == cluster_frames(embeddings, times, chosen)).all()
    assert (first == cluster_frames(4 * embeddings, times + 100, chosen)).all()


def test_near_duplicates_follow_the_first_and_do_not_draw_the_centres():
    units = np.array([[1, 0], [0.6, 0.8], [1, 0.01], [0, 1], [0.59, 0.81]])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    assert first_alike(units, 0.99).tolist() == [0, 1, 0, 3, 1]
    assert first_alike(units, 1.0).tolist() == [0, 1, 2, 3, 4]
    # 60 copies of one still beside three scenes of two frames: with suppression each has its cluster.
    embeddings = np.eye(4, dtype=np.float32)[[0] * 60 + [1, 1, 2, 2, 3, 3]]
    embeddings[:60, 1] += np.linspace(0, 0.05, 60)
    chosen = SamplerSettings(frames=8, grouping_clusters=4, grouping_time=0.0, grouping_duplicates=0.98)
    clusters = cluster_frames(embeddings, np.arange(66.0), chosen)
    assert clusters.tolist() == [0] * 60 + [1, 1, 2, 2, 3, 3]


def test_the_walk_by_hand():
    # Two bins of four equal frames; clusters forwards, then backwards, and time within.
    clusters_N = np.array([1, 0, 1, 0, 0, 1, 0, 1], np.int32)
    order = serpentine(np.full(8, 0.5), clusters_N, np.arange(8.0), bins=2)
    assert order.tolist() == [1, 3, 0, 2, 5, 7, 4, 6]
    assert serpentine(np.full(8, 0.5), clusters_N, np.arange(8.0), bins=8).tolist() == list(range(8))
    assert serpentine(np.full(8, 0.5), clusters_N, np.arange(8.0), bins=1).tolist() == [
        1,
        3,
        4,
        6,
        0,
        2,
        5,
        7,
    ]


@given(st.integers(9, 80), st.integers(1, 4), st.integers(1, 8), st.integers(1, 5), st.integers(0, 999))
def test_each_bin_and_cell_gets_its_mass_rounded_down_or_up(count, variants, bins, clusters, seed):
    rng = np.random.default_rng(seed)
    p_N = density(rng.standard_t(2, count), alpha=0.3, epsilon=0.3)
    pi_N = inclusion(p_N, frames=8, kappa=1.0)
    clusters_N = rng.integers(clusters, size=count).astype(np.int32)
    order_N = serpentine(pi_N, clusters_N, np.arange(count) * 1.0, bins=bins)
    assert sorted(order_N.tolist()) == list(range(count))
    bin_N = np.minimum((np.cumsum(pi_N) - pi_N / 2) * bins // pi_N.sum(), bins - 1).astype(int).tolist()
    drawn_MK = comb(pi_N, frames=8, variants=variants, offset=rng.random(), order_N=order_N)
    assert (np.diff(drawn_MK, axis=1) > 0).all()
    uses_N = np.bincount(drawn_MK.ravel(), minlength=count)
    assert (np.abs(uses_N - variants * pi_N) < 1 + 1e-7).all()
    for label in (lambda i: bin_N[i], lambda i: (bin_N[i], clusters_N[i])):
        mass = Counter()
        for i in range(count):
            mass[label(i)] += pi_N[i]
        for row_K in drawn_MK:
            held = Counter(label(i) for i in row_K)
            assert all(abs(held[cell] - mass[cell]) < 1 + 1e-6 for cell in mass)


@pytest.mark.parametrize("name", ["comb", "peaks"])
def test_grouped_variants_hold_every_scene(name):
    embeddings, times = scenes()
    chosen = SamplerSettings(
        frames=4, variants=2, grouping="semantic", grouping_clusters=3, grouping_time=0.0, grouping_bins=1
    )
    flat_N = np.zeros(40, np.float32)
    for row_K in draw(name, flat_N, chosen, offset=0.5, embeddings=embeddings, times=times):
        # Masses 1.6, 1.6 and .8 of the scenes: one frame at least of the first two.
        assert {SCENES[i] for i in row_K} >= {0, 1}
        assert (np.diff(row_K) > 0).all()


def test_baselines_do_not_walk_and_the_walk_needs_embeddings():
    embeddings, times = scenes()
    chosen = SamplerSettings(frames=4, grouping="semantic")
    scores_N = np.arange(40, dtype=np.float32)
    assert draw("topk", scores_N, chosen, offset=0.5)[0].tolist() == [36, 37, 38, 39]
    with pytest.raises(SettingsError, match="no frame embeddings"):
        draw("comb", scores_N, chosen, offset=0.5)
    with pytest.raises(SampleError, match=r"shape \(39, 16\) for 40 frames"):
        draw("comb", scores_N, chosen, offset=0.5, embeddings=embeddings[1:], times=times)
    embeddings[3, 3] = np.nan
    with pytest.raises(SampleError, match="not all finite"):
        comb_order(np.full(40, 0.1), embeddings, times, chosen)


def test_tiny_videos_can_be_grouped():
    chosen = SamplerSettings(frames=4, grouping="semantic")
    one = np.ones((1, 3), np.float32)
    assert cluster_frames(one, np.array([0.5]), chosen).tolist() == [0]
    drawn = draw("comb", np.zeros(1, np.float32), chosen, offset=0.5, embeddings=one, times=np.array([0.5]))
    assert drawn.tolist() == [[0], [0]]
    same = np.ones((9, 3), np.float32)
    assert cluster_frames(same, np.arange(9.0), chosen).shape == (9,)
