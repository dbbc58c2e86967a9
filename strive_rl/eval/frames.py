"""Which frames of a sample an evaluation shows: one whole view, or several, by each frame sampler.

At the end the held-out build of a run: what it must be, and how the policy is evaluated on it. Needs no
torch."""

from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256
from io import BytesIO

import numpy as np
import polars as pl

from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.config import SamplerSettings
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.sampling.comb import EVALUATION_OFFSET, comb_offset
from strive_data.sampling.samplers import NOISY, SAMPLERS, SINGLE, needs_embeddings
from strive_data.schema import Indices, Sample
from strive_data.shards.manifest import SAMPLES_FILE
from strive_data.shards.reader import ShardSet
from strive_data.shards.run_file import FILES, SEE_VERIFY
from strive_rl.config import EngineSettings, TrainSettings
from strive_rl.data import Builds
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


def require_heldout(heldout: ShardSet | None, builds: Builds, settings: TrainSettings) -> None:
    """Raise UsageError for a held-out build that cannot measure this run, before its model is loaded."""
    if heldout is None:
        return
    sampler = settings.validation.sampler
    choose(sampler, {TRAINING, *EVALUATION_SAMPLERS, *SAMPLERS}, "validation.sampler")
    if not len(heldout):
        raise UsageError(f"--heldout {heldout.folder}: the build holds no sample to evaluate on")
    if heldout.fingerprint in (part.fingerprint for part in builds.parts):
        raise UsageError(
            f"--heldout {heldout.folder}: the run trains on the same samples; give another build"
        )


def trained_videos(builds: Builds, heldout: ShardSet) -> str:
    """A warning where videos of `heldout` are trained on, by the builds' tables; "" where none is."""
    try:
        held = _video_ids(heldout)
        shared = {str(part.folder): held & _video_ids(part) for part in builds.parts}
    except StriveError as error:
        return f"whether held-out videos are trained on is not known: {error}"
    trained = set().union(*shared.values())
    if not trained:
        return ""
    folder = next(name for name, videos in shared.items() if videos)
    return (
        f"{len(trained)} of {plural(len(held), 'held-out video')} are trained on: accuracy will be too high; "
        f"`strive-data overlap {folder} {heldout.folder}` lists them"
    )


def _video_ids(shards: ShardSet) -> set[str]:
    """Ids of a build's videos: equal bytes have equal ids."""
    where = f"{shards.folder}/{SAMPLES_FILE}"
    if not shards.folder.exists(SAMPLES_FILE):
        raise DamagedError(f"no such file: {where}; {SEE_VERIFY}")
    content = shards.folder.read(SAMPLES_FILE)
    digest = sha256(content).hexdigest()
    if shards.run.get(FILES, {}).get(SAMPLES_FILE, digest) != digest:
        raise DamagedError(f"{where} does not have the checksum of run.json: {SEE_VERIFY}")
    return set(pl.read_parquet(BytesIO(content), columns=["video_id"])["video_id"])


def evaluation_settings(settings: TrainSettings) -> EvalSettings:
    """How the run's policy is evaluated: greedily, with the run's own policy and engine settings."""
    engine = {field.name: getattr(settings.rollout, field.name) for field in fields(EngineSettings)}
    return EvalSettings(
        policy=settings.policy,
        samplers=(frame_sampler(settings),),
        max_new_tokens=settings.rollout.max_new_tokens,
        seed=settings.seed,
        **engine,
    )


def frame_sampler(settings: TrainSettings) -> str:
    """The sampler of the held-out frames, "training" resolved."""
    given = settings.validation.sampler
    return settings.data.sampler or IMPORTANCE if given == TRAINING else given


def chosen_places(samples: int, questions: int | None) -> list[int]:
    """Places of the questions that are asked: all, or `questions` of them spread evenly. Pure."""
    count = min(samples, questions or samples)
    return [place * samples // count for place in range(count)]
