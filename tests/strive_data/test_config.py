from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.common.settings import load
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings, ShardSettings
from strive_data.errors import SettingsError


def test_defaults_are_the_papers_where_it_states_them() -> None:
    settings = BuildSettings()
    assert (settings.sampler.frames, settings.sampler.variants) == (32, 2)
    # Ours, by strive_data/sampling/README.md.
    assert (settings.sampler.name, settings.sampler.alpha, settings.sampler.epsilon) == ("peaks", 0.4, 0.6)
    assert (settings.decode.max_pixels, settings.shard.quality) == (100_352, 90)


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (DecodeSettings, "candidates", 0),
        (DecodeSettings, "multiple", 0),
        (DecodeSettings, "max_pixels", 783),
        (DecodeSettings, "max_pixels", 4096 * 4096 + 1),
        (DecodeSettings, "timeout_seconds", 0.0),
        (DecodeSettings, "memory_bytes", 1 << 20),
        (DecodeSettings, "max_source_pixels", 0),
        (ScoreSettings, "batch_size", -1),
        (ScoreSettings, "window_overlap_tokens", -1),
        (SamplerSettings, "frames", 5),
        (SamplerSettings, "variants", 0),
        (SamplerSettings, "alpha", 1.1),
        (SamplerSettings, "epsilon", -0.1),
        (SamplerSettings, "kappa", 0.4),
        (ShardSettings, "quality", 101),
        (ShardSettings, "max_samples", 0),
        (ShardSettings, "max_bytes", 1),
    ],
)
def test_values_out_of_range_are_refused_by_name(cls: type, field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=field):
        cls(**{field: value})


def test_more_frames_than_candidates_are_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError) as raised:
        load(BuildSettings, options={"decode.candidates": 16})
    assert str(raised.value) == (
        "sampler.frames: got 32, expected at most decode.candidates, 16, from which they are chosen: lower "
        "--frames, or raise decode.candidates (--candidates of a build, or --set)"
    )
    assert load(BuildSettings, options={"decode.candidates": 32}).decode.candidates == 32


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "manifests" / "builds").glob("*.toml")))
def test_published_settings_load(file: Path) -> None:
    settings = load(BuildSettings, config=file)
    assert (settings.decode.candidates, settings.sampler.frames) == (128, 32)
