"""The held-out build of a run: what it must be, and how the policy is evaluated on it. Needs no torch."""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from io import BytesIO

import polars as pl

from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.sampling.samplers import SAMPLERS
from strive_data.shards.manifest import SAMPLES_FILE
from strive_data.shards.reader import ShardSet
from strive_data.shards.run_file import FILES, SEE_VERIFY
from strive_rl.config import EngineSettings, TrainSettings
from strive_rl.data import Builds
from strive_rl.eval.config import EVALUATION_SAMPLERS, IMPORTANCE, EvalSettings
from strive_rl.eval.frames import TRAINING


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
