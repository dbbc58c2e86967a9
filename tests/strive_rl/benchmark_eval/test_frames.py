from __future__ import annotations

from dataclasses import replace

import pytest

from strive_data.config import SamplerSettings
from strive_data.errors import SettingsError
from strive_rl.benchmark_eval.frames import frame_settings
from strive_rl.config import PolicySettings
from strive_rl.eval_config import BenchmarkSettings


def test_uniform_frames_need_no_image_model_and_keep_no_other_frames() -> None:
    settings = frame_settings(BenchmarkSettings())
    assert (settings.score.scorer, settings.sampler.name, settings.sampler.frames) == ("flat", "uniform", 32)
    assert (settings.shard.frames, settings.decode.candidates) == ("sampled", 128)
    beside = PolicySettings(frame_pairs="neighbours")
    assert frame_settings(BenchmarkSettings(policy=beside)).shard.frames == "all"


def test_another_sampler_has_the_scorer_and_all_frames() -> None:
    settings = BenchmarkSettings(samplers=("uniform", "topk"))
    made = frame_settings(settings)
    assert (made.score, made.shard.frames, made.shard.embeds) == (settings.score, "all", False)
    grouped = frame_settings(replace(settings, sampler=SamplerSettings(grouping="semantic")))
    assert grouped.shard.embeds


def test_more_frames_than_candidates_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"got 130, expected at most decode\.candidates, 128"):
        BenchmarkSettings(sampler=SamplerSettings(frames=130))
