from __future__ import annotations

from typing import Any

import pytest

from strive_data.config import DecodeSettings, SamplerSettings
from strive_data.errors import SettingsError
from strive_rl.eval.config import BenchmarkSettings, EvalSettings


def test_defaults_are_greedy_and_count_what_is_missing_as_wrong() -> None:
    settings = BenchmarkSettings()
    assert (settings.temperature, settings.answers, settings.samplers) == (0.0, 1, ("uniform",))
    assert (settings.missing, settings.prompt, settings.quality) == ("wrong", "reason", 90)
    assert EvalSettings().samplers == ("uniform", "importance")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "seed: got -1"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -0.5}, "temperature: got -0.5"),
        ({"answers": 0, "temperature": 1.0}, "answers: got 0"),
        ({"answers": 2}, "answers: got 2"),
        ({"samplers": ()}, "samplers: expected names, each once"),
        ({"samplers": ("uniform", "uniform")}, "samplers: expected names, each once"),
        ({"bootstrap_resamples": 0}, "bootstrap_resamples: got 0"),
        ({"quality": 0}, "quality: got 0"),
        (
            {"sampler": SamplerSettings(frames=16), "decode": DecodeSettings(candidates=8)},
            "sampler.frames: got 16",
        ),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        BenchmarkSettings(**values)


def test_as_many_candidates_as_frames_are_the_frames() -> None:
    least = BenchmarkSettings(sampler=SamplerSettings(frames=16), decode=DecodeSettings(candidates=16))
    assert least.decode.candidates == least.sampler.frames
