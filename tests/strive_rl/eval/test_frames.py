"""Settings of an evaluation, and which frames it shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strive_data.common.settings import as_dict
from strive_data.config import DecodeSettings, SamplerSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.schema import Indices, Sample
from strive_rl.eval.config import BenchmarkSettings, Column, EvalSettings
from strive_rl.eval.frames import evaluation_views
from tests.strive_rl.made.shards import SAMPLED, SETTINGS, made_sample


def views(sample: Sample, sampler: str, **asked: int) -> tuple[Indices, str]:
    return evaluation_views(sample, Column(name=sampler, sampler=sampler, **asked))


def test_evaluation_frames_by_hand() -> None:
    sample = made_sample(0)
    flat = replace(sample, scores=np.zeros(12, dtype=np.float32))
    (indices,), source = views(flat, "uniform")
    assert (indices.tolist(), source) == ([1, 4, 7, 10], "midpoint-uniform")
    (indices,), source = views(flat, "importance")
    assert (indices.tolist(), source) == ([1, 4, 7, 10], "comb, one variant, phase 1/2, all scores equal")
    scores = np.full(12, -1.0, dtype=np.float32)
    scores[[5, 6]] = 9.0
    (indices,), _ = views(replace(sample, scores=scores), "importance")
    assert {5, 6} <= set(indices.tolist())


def test_samplers_by_name_draw_again_and_need_all_frames() -> None:
    scores = np.arange(12, dtype=np.float32)
    sample = replace(made_sample(0), scores=scores)
    (indices,), source = views(sample, "topk")
    assert (indices.tolist(), source) == ([8, 9, 10, 11], "topk, one variant, phase 1/2")
    (indices,), source = views(sample, "gumbel")
    assert (len(set(indices.tolist())), source) == (4, "gumbel, one variant, its own phase")
    others = [views(replace(made_sample(2 * n), scores=scores), "gumbel")[0] for n in range(8)]
    assert len({other.tobytes() for other in others}) > 1
    with pytest.raises(UsageError, match=r"sampler topk .*`strive-data build … --set shard.frames=all`"):
        views(made_sample(0, SAMPLED), "topk")
    with pytest.raises(SettingsError, match="did you mean 'topk'"):
        views(sample, "topq")


def test_evaluation_of_sampled_frames_takes_the_first_stored_variant() -> None:
    sample = made_sample(0, SAMPLED)
    (indices,), source = views(sample, "importance")
    assert indices.tolist() == sample.variants[0].tolist()
    assert source == "first stored variant of 2"


def test_several_variants_interleave_and_one_view_may_hold_more_frames() -> None:
    sample = made_sample(0)
    flat = replace(sample, scores=np.zeros(12, dtype=np.float32))
    variants, source = views(flat, "uniform", variants=3)
    assert variants.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert source == "uniform, 3 variants, phases (v + 1/2)/3, all scores equal"
    for sampler in ("importance", "uniform"):
        more, source = views(sample, sampler, frames_factor=2)
        assert (more.shape, "one variant of 8 frames" in source) == ((1, 8), True)
        assert views(sample, sampler, frames_factor=9)[0].tolist() == [list(range(12))]
    # One of V variants is the same kind of view as a single one.
    three, (one,) = (views(sample, "importance", variants=v)[0] for v in (3, 1))
    assert three[1].tolist() == one.tolist()
    with pytest.raises(UsageError, match="sampler topk chooses the same frames for each of 2 variants"):
        views(sample, "topk", variants=2)
    stored = made_sample(0, SAMPLED)
    assert views(stored, "importance", variants=2)[0].tolist() == stored.variants.tolist()
    for asked in ({"variants": 3}, {"frames_factor": 2}):
        with pytest.raises(UsageError, match=r"hold 2 variants .*--set shard.frames=all"):
            views(stored, "importance", **asked)
    with pytest.raises(UsageError, match=r"uniform .* no variant shows: .*--set shard\.frames=all`"):
        views(stored, "uniform", variants=2)


def test_disjoint_variants_can_be_evaluated_by_one_view() -> None:
    """The build's kappa of 1/2 is no inclusion for M = 1; the single view takes 1."""
    disjoint = replace(SETTINGS, sampler=SamplerSettings(frames=4, variants=2, kappa=0.5))
    (indices,), _ = views(made_sample(0, disjoint), "importance")
    assert len(indices) == 4


def test_without_embeddings_semantic_variants_are_the_stored_ones() -> None:
    semantic = replace(SETTINGS.sampler, grouping="semantic")
    made = made_sample(0)
    sample = replace(made, meta=replace(made.meta, sampler=as_dict(semantic)))
    (indices,), source = views(sample, "importance")
    assert (indices.tolist(), source) == (made.variants[0].tolist(), "first stored variant of 2")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "seed: got -1"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -0.5}, "temperature: got -0.5"),
        ({"completions": 0, "temperature": 1.0}, "completions: got 0"),
        ({"completions": 2}, "completions: got 2"),
        ({"samplers": ()}, "samplers: expected names, each once"),
        ({"samplers": ("uniform", "uniform")}, "samplers: expected names, each once"),
        ({"bootstrap_resamples": 0}, "bootstrap_resamples: got 0"),
        ({"quality": 0}, "quality: got 0"),
        (
            {"sampler": SamplerSettings(frames=16), "decode": DecodeSettings(candidates=8)},
            "sampler.frames: got 16, expected at most decode.candidates, 8",
        ),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        BenchmarkSettings(**values)


def test_defaults_are_greedy_and_candidates_may_be_as_few_as_frames() -> None:
    settings = BenchmarkSettings()
    assert (settings.temperature, settings.completions, settings.samplers) == (0.0, 1, ("uniform",))
    assert (settings.missing, settings.prompt, settings.quality) == ("wrong", "reason", 90)
    assert EvalSettings().samplers == ("uniform", "importance")
    least = BenchmarkSettings(sampler=SamplerSettings(frames=16), decode=DecodeSettings(candidates=16))
    assert least.decode.candidates == least.sampler.frames
