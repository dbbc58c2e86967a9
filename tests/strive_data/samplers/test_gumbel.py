from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import z_scores
from strive_data.samplers import draw
from strive_data.samplers.gumbel import gumbel_noise


def test_the_noise_is_standard_gumbel_and_fixed_by_the_phase():
    noise = gumbel_noise(0.25, 40_000)
    # Mean: Euler's constant; variance π²/6; P(below 0) = exp(−1).
    assert abs(noise.mean() - np.euler_gamma) < 0.02
    assert abs(noise.var() - math.pi**2 / 6) < 0.05
    assert abs((noise < 0).mean() - math.exp(-1)) < 0.01
    assert (gumbel_noise(0.25, 5) == noise[:5]).all()
    assert not (gumbel_noise(0.25 + 2**-53, 5) == noise[:5]).any()


def test_first_draws_follow_the_softmax():
    # With K = 2 of 3 the frame left out follows: P(i, j kept) = p_i p_j/(1−p_i) + p_j p_i/(1−p_j).
    scores_N = np.array([1.0, 0.0, -1.0], np.float32)
    chosen = SamplerSettings(frames=2, variants=1, gumbel_tau=2.0)
    p = np.exp(z_scores(scores_N) / 2)
    p /= p.sum()
    left_out = np.zeros(3)
    phases = (np.arange(4000) + 0.5) / 4000
    for at in phases:
        left_out[3 - draw("gumbel", scores_N, chosen, phase=at).sum()] += 1 / len(phases)
    pairs = {2: (0, 1), 1: (0, 2), 0: (1, 2)}
    expected = [p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i, j in (pairs[k] for k in range(3))]
    np.testing.assert_allclose(left_out, expected, atol=0.025)


def test_variants_differ_and_a_cold_tau_is_top_k():
    scores_N = np.random.default_rng(0).normal(size=60).astype(np.float32)
    chosen = SamplerSettings(frames=8, variants=2)
    first, second = draw("gumbel", scores_N, chosen, phase=0.5)
    assert first.tolist() != second.tolist()
    cold = draw("gumbel", scores_N, replace(chosen, gumbel_tau=1e-9), phase=0.5)
    assert (cold == draw("topk", scores_N, chosen, phase=0.5)).all()
