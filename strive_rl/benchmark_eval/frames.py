"""How an evaluation reads videos: the settings of a build that give its frames."""

from __future__ import annotations

from dataclasses import replace

from strive_data.config import BuildSettings, ScoreSettings, ShardSettings
from strive_rl.eval_config import BenchmarkSettings
from strive_rl.views import UNIFORM


def frame_settings(settings: BenchmarkSettings) -> BuildSettings:
    """As a build would have them. Without a sampler that reads scores there are none: no image model runs."""
    scored = any(sampler != UNIFORM for sampler in settings.samplers)
    every = scored or settings.policy.frame_pairs == "neighbours"
    sampler = settings.sampler if scored else replace(settings.sampler, name=UNIFORM, grouping="none")
    return BuildSettings(
        decode=settings.decode,
        score=settings.score if scored else ScoreSettings(scorer="flat"),
        sampler=replace(sampler, variants=1, kappa=1.0),
        shard=ShardSettings(
            frames="all" if every else "sampled",
            quality=settings.quality,
            embeds=sampler.grouping != "none",
        ),
    )
