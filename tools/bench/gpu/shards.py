"""A finished build of noise pictures: what a step costs does not depend on what they show."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import simplejpeg

from strive_data import SCHEMA_VERSION
from strive_data.common.files import write_json
from strive_data.common.settings import as_dict, fingerprint
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ShardSettings
from strive_data.sampling.samplers import draw, uniform_indices
from strive_data.schema import Sample, SampleMeta, VideoInfo
from strive_data.shards.manifest import index_of
from strive_data.shards.reader import ShardSet
from strive_data.shards.writer import OpenShard
from tools.bench.step.task import CANDIDATES, question_of, smooth_scores


def make_shards(folder: Path, *, questions: int, frames: int, height: int, width: int) -> ShardSet:
    """Questions about 128 candidates a second apart, two variants of `frames` by the default sampler."""
    settings = BuildSettings(
        sampler=SamplerSettings(frames=frames, variants=2),
        decode=DecodeSettings(max_pixels=height * width),
        shard=ShardSettings(frames="sampled", max_samples=questions),
    )
    folder.mkdir(parents=True)
    shard = OpenShard(folder, 0, fingerprint(settings))
    for number in range(questions):
        shard.add(_sample(number, settings, height, width))
    index_of([shard.commit()]).write_parquet(folder / "index.parquet")
    write_json(folder / "run.json", {"schema_version": SCHEMA_VERSION, "settings": as_dict(settings)})
    return ShardSet.open(folder)


def _sample(number: int, settings: BuildSettings, height: int, width: int) -> Sample:
    rng = np.random.default_rng(number)
    scores = smooth_scores(rng)
    variants = draw(settings.sampler.name, scores, settings.sampler, offset=0.5)
    uniform = uniform_indices(CANDIDATES, settings.sampler.frames)
    stored = np.union1d(variants, uniform).astype(np.int32)
    info = VideoInfo(
        video_id=f"noise{number}",
        duration_seconds=float(CANDIDATES),
        width=width,
        height=height,
        reader="noise",
        reader_version="0",
    )
    return Sample(
        meta=SampleMeta(question=question_of(number), info=info, sampler=asdict(settings.sampler)),
        scores=scores,
        times=np.arange(CANDIDATES) + 0.5,
        variants=variants,
        uniform=uniform,
        stored=stored,
        jpegs=tuple(_jpeg(rng, height, width) for _ in stored),
    )


def _jpeg(rng: np.random.Generator, height: int, width: int) -> bytes:
    """A picture of coarse noise, about as large as a photograph of its size."""
    coarse = rng.integers(0, 256, (height // 7, width // 7, 3), dtype=np.uint8)
    frame = np.ascontiguousarray(coarse.repeat(7, axis=0).repeat(7, axis=1))
    return simplejpeg.encode_jpeg(frame, quality=90, colorspace="RGB", colorsubsampling="444")
