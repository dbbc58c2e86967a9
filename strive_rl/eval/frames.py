"""Which frames of a sample an evaluation shows: one whole view, or several, by each frame sampler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.config import SamplerSettings
from strive_data.errors import UsageError
from strive_data.sampling.comb import EVALUATION_OFFSET, comb_offset
from strive_data.sampling.samplers import NOISY, SAMPLERS, SINGLE, needs_embeddings
from strive_data.schema import Indices, Sample
from strive_data.shards.reader import ShardSet
from strive_rl.data.views import drawn_variants
from strive_rl.eval.config import (
    EQUAL_SCORES,
    EVALUATION_SAMPLERS,
    IMPORTANCE,
    UNIFORM,
    BenchmarkSettings,
    Column,
    EvalSettings,
)

TRAINING = "training"
"""The value of `validation.sampler` that means the frames of training."""
SAMPLER_FIELDS = frozenset(SamplerSettings.__dataclass_fields__)


def evaluation_views(sample: Sample, column: Column) -> tuple[Indices, str]:
    """Candidates int32 [V, K] that a column's sampler takes of a sample, and a description of their origin.

    "importance" is the sampler of the build, or its first stored variants where nothing can be drawn. The V
    variants interleave as in training, at the phases (v + ½)/V; each has `frames_factor` times the frames
    of the build, at most all.

    Raises UsageError for another sampler by name where the sample does not hold all that it needs, and for
    several variants of a sampler that has only one.
    """
    sampler, variants, frames_factor = column.sampler, column.variants, column.frames_factor
    if sampler == UNIFORM and variants == frames_factor == 1:
        return sample.uniform[None], "midpoint-uniform"
    built = SamplerSettings(**{k: v for k, v in sample.meta.sampler.items() if k in SAMPLER_FIELDS})
    frames = built.frames * frames_factor
    settings = replace(built, variants=variants, kappa=1.0, frames=frames)
    if sampler != IMPORTANCE:
        settings = replace(settings, name=choose(sampler, SAMPLERS, "sampler"))
    require_varied(settings.name, variants)
    lacking = needs_embeddings(settings) and sample.embeds is None
    equal = EQUAL_SCORES if len(sample.scores) > 1 and np.ptp(sample.scores) == 0 else ""
    if not sample.holds_all or lacking:
        views, source = _stored_views(sample, column, lacking=lacking)
        return views, source + equal
    noisy = settings.name in NOISY
    at = comb_offset(settings.seed, sample.meta.question.sample_id, 0) if noisy else EVALUATION_OFFSET
    number = "one variant" if variants == 1 else f"{variants} variants"
    size = f" of {frames} frames" if frames_factor > 1 else ""
    phase = "its own phase" if noisy else "phase 1/2" if variants == 1 else f"phases (v + 1/2)/{variants}"
    return drawn_variants(sample, settings, offset=at), f"{settings.name}, {number}{size}, {phase}{equal}"


def require_views(shards: ShardSet, settings: EvalSettings) -> None:
    """Raise UsageError for an unknown sampler, for an empty build, and where the first sample does not hold
    what `evaluation_views` needs: before a model is loaded."""
    for column in settings.columns:
        choose(column.sampler, {*EVALUATION_SAMPLERS, *SAMPLERS}, "samplers")
        require_varied(column.sampler, column.variants)
        if not len(shards):
            raise UsageError(f"{shards.folder}: the build holds no sample to evaluate on")
        evaluation_views(shards.read(0), column)


def require_samplers(settings: BenchmarkSettings) -> None:
    """Raise UsageError for a sampler that a benchmark's frames cannot be chosen by."""
    for sampler in settings.samplers:
        choose(sampler, SAMPLERS, "sampler")
        require_varied(sampler, settings.variants)


def require_varied(sampler: str, variants: int) -> None:
    """Raise UsageError for several variants of a sampler that has only one."""
    if variants > 1 and sampler in SINGLE:
        raise UsageError(
            f"sampler {sampler} chooses the same frames for each of {variants} variants: leave it out, or "
            "ask for one variant"
        )


def _stored_views(sample: Sample, column: Column, *, lacking: bool) -> tuple[Indices, str]:
    """The first stored variants. Raises UsageError where they are not what is asked for."""
    held, sampler, variants = len(sample.variants), column.sampler, column.variants
    needs = ["shard.frames=all"] * (not sample.holds_all) + ["shard.embeds=true"] * lacking
    build = f"build again with `strive-data build … --set {' --set '.join(needs)}`"
    if sampler != IMPORTANCE:
        lost = "embeddings of the frames" if sample.holds_all else "the frames that no variant shows"
        raise UsageError(f"sampler {sampler} chooses among all frames; these shards lack {lost}: {build}")
    if variants > held or column.frames_factor > 1:
        wanted = f"{variants} are asked for" if variants > held else "one of more frames is asked for"
        raise UsageError(f"these shards hold {plural(held, 'variant')} of each video, {wanted}: {build}")
    which = "first stored variant" if variants == 1 else f"first {variants} stored variants"
    return sample.variants[:variants], f"{which} of {held}"
