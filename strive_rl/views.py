"""A sample of a shard → the views of it that the policy sees.

For training the M variants, as they are stored or drawn anew each epoch; for evaluation one view by each
frame sampler. What the shards cannot give is refused before the first step, and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import simplejpeg

from strive_data.config import SamplerSettings
from strive_data.errors import StriveError, UsageError
from strive_data.samplers import EVALUATION_PHASE, SAMPLERS, draw, phase
from strive_data.schema import Frames, Indices, Sample
from strive_data.settings import choose
from strive_rl.config import DataSettings
from strive_rl.schema import Group, View

UNIFORM, IMPORTANCE = "uniform", "importance"
EVALUATION_SAMPLERS = (UNIFORM, IMPORTANCE)

REBUILD = "build them again with --set shard.frames=all to draw other variants"
SAMPLER_FIELDS = frozenset(SamplerSettings.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """Where the frames come from: drawn anew by `sampler`, or the stored variants, which `sampler` made."""

    anew: bool
    sampler: SamplerSettings


def plan_views(build: Mapping[str, Any], settings: DataSettings) -> ViewPlan:
    """Decide for shards with these build settings.

    Raises UsageError where the settings ask for variants that the shards neither hold nor can give.
    """
    built = SamplerSettings(**build["sampler"])
    all_frames = build["shard"]["frames"] == "all"
    overrides: dict[str, Any] = {
        "name": settings.sampler,
        "alpha": settings.alpha,
        "epsilon": settings.epsilon,
    }
    overrides |= {"kappa": settings.kappa}
    given = {name: value for name, value in overrides.items() if value is not None}
    wanted = replace(built, variants=settings.variants, **given)
    choose(wanted.name, SAMPLERS, "data.sampler")
    if settings.draw == "epoch" and not all_frames:
        raise UsageError("data.draw=epoch: these shards hold only the sampled frames; " + REBUILD)
    anew = all_frames and settings.draw != "stored"
    if not anew and wanted != built:
        way = "use data.draw=auto" if all_frames else REBUILD
        raise UsageError(
            f"the shards' stored variants differ from those asked for ({_differences(built, wanted)}); {way}"
        )
    return ViewPlan(anew=anew, sampler=wanted)


def training_group(sample: Sample, plan: ViewPlan, *, seed: int, epoch: int) -> Group:
    """The M variants of a sample in this epoch. Raises StriveError for a frame that cannot be decoded."""
    if not plan.anew:
        return group_of(sample, sample.variants)
    at = phase(seed, sample.meta.question.sample_id, epoch)
    return group_of(sample, draw(plan.sampler.name, sample.scores, plan.sampler, phase=at))


def evaluation_indices(sample: Sample, sampler: str) -> tuple[Indices, str]:
    """Candidates int32 [K] that a frame sampler takes of a sample, and in words where they come from."""
    if sampler == UNIFORM:
        return sample.uniform, "midpoint-uniform"
    settings = SamplerSettings(**{k: v for k, v in sample.meta.sampler.items() if k in SAMPLER_FIELDS})
    if not sample.holds_all:
        return sample.variants[0], f"first stored variant of {len(sample.variants)}"
    one = replace(settings, variants=1, kappa=1.0)
    return draw(one.name, sample.scores, one, phase=EVALUATION_PHASE)[
        0
    ], f"{one.name}, one variant, phase 1/2"


def group_of(sample: Sample, variants: Iterable[Indices]) -> Group:
    """Group with one view for each list of candidates; each frame is decoded once."""
    lists = [np.asarray(indices) for indices in variants]
    needed = np.unique(np.concatenate(lists)).astype(np.int32)
    sample_id = sample.meta.question.sample_id
    jpegs = sample.jpegs_of(needed)
    frames = {int(i): _decode(jpeg, sample_id) for i, jpeg in zip(needed, jpegs, strict=True)}
    views = tuple(
        View(frames=np.stack([frames[int(i)] for i in indices]), times=sample.times[indices])
        for indices in lists
    )
    return Group(question=sample.meta.question, views=views)


def _decode(jpeg: bytes, sample_id: str) -> Frames:
    try:
        frame: Frames = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    except ValueError as error:
        raise StriveError(f"sample {sample_id!r}: a stored frame is not a JPEG image: {error}") from error
    return frame


def _differences(built: SamplerSettings, wanted: SamplerSettings) -> str:
    old, new = asdict(built), asdict(wanted)
    return ", ".join(
        f"{name}: stored {old[name]}, asked {new[name]}" for name in old if old[name] != new[name]
    )
