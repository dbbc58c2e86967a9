"""One scored question of a video → one sample, its frames chosen."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from strive_data.config import BuildSettings, SamplerSettings, ShardSettings
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.grouping import cluster_frames
from strive_data.samplers import WALKERS, draw, phase, uniform_indices
from strive_data.schema import Halves, Indices, Question, Sample, SampleMeta
from strive_data.score import FrameScores
from strive_data.stills import Stills

BUILD_EPOCH = 0


def make_sample(question: Question, stills: Stills, scored: FrameScores, settings: BuildSettings) -> Sample:
    """Choose the variants of one question and take the JPEGs that they and the control need.

    Raises SampleError: score_failed for scores that are not finite or not one for each candidate,
    encode_failed for a frame that cannot be encoded.
    """
    count, scores = len(stills.times), scored.scores
    if scores.shape != (count,) or not np.isfinite(scores).all():
        message = f"scores of shape {scores.shape} for {count} frames, finite: {np.isfinite(scores).all()}"
        raise SampleError(FailureKind.SCORE_FAILED, message)
    drawn_phase = phase(settings.sampler.seed, question.sample_id, BUILD_EPOCH)
    variants = draw(
        settings.sampler.name,
        scores,
        settings.sampler,
        phase=drawn_phase,
        embeddings=scored.embeddings,
        times=stills.times,
    )
    uniform = uniform_indices(count, settings.sampler.frames)
    stored = _stored(variants, uniform, count, everything=settings.shard.frames == "all")
    return Sample(
        meta=SampleMeta(
            question=question,
            info=stills.info,
            sampler=asdict(settings.sampler) | {"phase": drawn_phase},
            scorer=scored.scorer,
            query_windows=scored.windows,
        ),
        scores=scores,
        times=stills.times,
        variants=variants,
        uniform=uniform,
        stored=stored,
        jpegs=stills.jpegs_of(stored),
        embeds=_embeds(scored, settings.shard),
        clusters=_clusters(scored, stills, settings.sampler),
    )


def _clusters(scored: FrameScores, stills: Stills, settings: SamplerSettings) -> Indices | None:
    """Clusters that the sampler walks by; None where it does not group."""
    if settings.grouping == "none" or settings.name not in WALKERS or scored.embeddings is None:
        return None
    return cluster_frames(scored.embeddings, stills.times, settings)


def _embeds(scored: FrameScores, settings: ShardSettings) -> Halves | None:
    if not settings.embeds:
        return None
    if scored.embeddings is None:
        raise SettingsError(f"shard.embeds: the scorer {scored.scorer} gives no frame embeddings")
    return scored.embeddings.astype(np.float16)


def _stored(variants: Indices, uniform: Indices, count: int, *, everything: bool) -> Indices:
    if everything:
        return np.arange(count, dtype=np.int32)
    return np.union1d(variants.ravel(), uniform).astype(np.int32)
