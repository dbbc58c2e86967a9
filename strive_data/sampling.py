"""One decoded video and one scored question → one sample, its frames chosen and encoded."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import simplejpeg

from strive_data.config import BuildSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.samplers import draw, phase, uniform_indices
from strive_data.schema import Candidates, Frames, Indices, Question, Sample, SampleMeta
from strive_data.score import FrameScores

# Full chroma: stored frames are small, and halving their colour resolution again would blur small text.
CHROMA = "444"
BUILD_EPOCH = 0


def make_sample(
    question: Question, candidates: Candidates, scored: FrameScores, settings: BuildSettings
) -> Sample:
    """Choose the variants of one question and encode the frames that they and the control need.

    Raises SampleError (score_failed) for scores that are not finite or not one for each candidate.
    """
    count, scores = len(candidates.times), scored.scores
    if scores.shape != (count,) or not np.isfinite(scores).all():
        message = f"scores of shape {scores.shape} for {count} frames, finite: {np.isfinite(scores).all()}"
        raise SampleError(FailureKind.SCORE_FAILED, message)
    drawn_phase = phase(settings.sampler.seed, question.sample_id, BUILD_EPOCH)
    variants = draw(settings.sampler.name, scores, settings.sampler, phase=drawn_phase)
    uniform = uniform_indices(count, settings.sampler.frames)
    stored = _stored(variants, uniform, count, everything=settings.shard.frames == "all")
    return Sample(
        meta=SampleMeta(
            question=question,
            info=candidates.info,
            sampler=asdict(settings.sampler) | {"phase": drawn_phase},
            scorer=scored.scorer,
            query_windows=scored.windows,
        ),
        scores=scores,
        times=candidates.times,
        variants=variants,
        uniform=uniform,
        stored=stored,
        jpegs=tuple(encode_jpeg(candidates.frames[i], settings.shard.quality) for i in stored),
    )


def encode_jpeg(frame: Frames, quality: int) -> bytes:
    """JPEG of one uint8 RGB frame [H, W, 3]. Raises SampleError (encode_failed)."""
    try:
        encoded: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling=CHROMA
        )
    except ValueError as error:
        raise SampleError(FailureKind.ENCODE_FAILED, f"frame of shape {frame.shape}: {error}") from error
    return encoded


def _stored(variants: Indices, uniform: Indices, count: int, *, everything: bool) -> Indices:
    if everything:
        return np.arange(count, dtype=np.int32)
    return np.union1d(variants.ravel(), uniform).astype(np.int32)
