"""Small finished builds for the trainer's tests, made without videos or a scorer."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import simplejpeg

from strive_data import SCHEMA_VERSION
from strive_data.common.files import write_json
from strive_data.common.settings import as_dict, fingerprint
from strive_data.config import BuildSettings, SamplerSettings, ShardSettings
from strive_data.sampling.samplers import draw, uniform_indices
from strive_data.schema import Question, Sample, SampleMeta, VideoInfo
from strive_data.shards.manifest import index_of
from strive_data.shards.reader import ShardSet
from strive_data.shards.writer import OpenShard

SETTINGS = BuildSettings(
    sampler=SamplerSettings(name="comb", frames=4, variants=2, alpha=0.3, epsilon=0.5),
    shard=ShardSettings(frames="all", max_samples=4),
)
SAMPLED = replace(SETTINGS, shard=ShardSettings(frames="sampled", max_samples=4))


def make_shards(
    folder: Path, samples: int = 6, settings: BuildSettings = SETTINGS, answers: str = "AB"
) -> ShardSet:
    folder.mkdir()
    manifests = []
    for number, start in enumerate(range(0, samples, settings.shard.max_samples)):
        shard = OpenShard(folder, number, fingerprint(settings))
        for i in range(start, min(start + settings.shard.max_samples, samples)):
            shard.add(made_sample(i, settings, answers))
        manifests.append(shard.commit())
    index_of(manifests).write_parquet(folder / "index.parquet")
    write_json(folder / "run.json", {"schema_version": SCHEMA_VERSION, "settings": as_dict(settings)})
    return ShardSet.open(folder)


def made_sample(number: int, settings: BuildSettings = SETTINGS, answers: str = "AB") -> Sample:
    """12 candidates, one a second; two questions a video; the evidence at seconds 5 to 7 of each even one."""
    generator = np.random.default_rng(number // 2)
    frames = generator.integers(0, 256, (12, 28, 28, 3), dtype=np.uint8)
    info = VideoInfo(
        video_id=f"video{number // 2}",
        duration_seconds=12.0,
        width=28,
        height=28,
        reader="made",
        reader_version="0",
    )
    question = Question(
        sample_id=f"q{number}",
        video=f"{number // 2}.mp4",
        question="Which?",
        answer=answers[number % len(answers)],
        problem_type="multiple choice",
        options=("A. red", "B. blue"),
        evidence_spans=() if number % 2 else ((5.0, 7.0),),
    )
    scores = generator.normal(size=12).astype(np.float32)
    variants = draw("comb", scores, settings.sampler, offset=0.3)
    uniform = uniform_indices(12, settings.sampler.frames)
    everything = np.arange(12, dtype=np.int32)
    sampled = np.union1d(variants, uniform).astype(np.int32)
    stored = everything if settings.shard.frames == "all" else sampled
    return Sample(
        meta=SampleMeta(question=question, info=info, sampler=asdict(settings.sampler)),
        scores=scores,
        times=everything + 0.5,
        variants=variants,
        uniform=uniform,
        stored=stored,
        jpegs=tuple(jpeg(frames[i], settings.shard.quality) for i in stored),
    )


def jpeg(frame: np.ndarray, quality: int) -> bytes:
    return simplejpeg.encode_jpeg(frame, quality=quality, colorspace="RGB", colorsubsampling="444")
