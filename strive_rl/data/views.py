"""A sample of a shard → the views of it that the policy sees.

Training sees the M variants, as stored or drawn from the stored scores each epoch, with their spatial views.
An evaluation's are in strive_rl/eval/frames.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from strive_data.common.settings import choose, differences
from strive_data.config import SamplerSettings, ViewSettings
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.sampling.comb import comb_offset
from strive_data.sampling.samplers import SAMPLERS, draw, needs_embeddings
from strive_data.sampling.spatial import (
    Kind,
    SpatialView,
    allowed_kinds,
    choose_views,
    crop_frames,
    resize_frames,
    view_frames,
    view_size,
)
from strive_data.schema import Indices, Sample, Span
from strive_data.shards.format import decode_jpeg, jpeg_size
from strive_rl.config import DataSettings
from strive_rl.schema import Group, View

T = TypeVar("T")

REBUILD = "to draw other variants, build again, into a new folder, with --set shard.frames=all"


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """Where the frames come from: `drawn` each epoch by `sampler`, or the stored variants that `sampler`
    made; and how they may differ in space. Sides are multiples of `multiple` pixels; `neighbours` as in
    `group_of`."""

    drawn: bool
    sampler: SamplerSettings
    spatial: ViewSettings = field(default_factory=ViewSettings)
    multiple: int = 28
    neighbours: bool = False


def plan_views(build: Mapping[str, Any], settings: DataSettings, *, neighbours: bool = False) -> ViewPlan:
    """Decide for shards with these build settings.

    Raises UsageError where the settings ask for variants that the shards neither hold nor can give.
    """
    built = SamplerSettings(**build["sampler"])
    all_frames = build["shard"]["frames"] == "all"
    given: dict[str, Any] = {"name": settings.sampler, "alpha": settings.alpha, "epsilon": settings.epsilon}
    given |= {"kappa": settings.kappa, "variants": settings.variants}
    wanted = replace(built, **{name: value for name, value in given.items() if value is not None})
    choose(wanted.name, SAMPLERS, "data.sampler")
    if settings.draw == "epoch" and not all_frames:
        raise UsageError("data.draw=epoch: these shards hold only the sampled frames; " + REBUILD)
    drawn = all_frames and settings.draw != "stored"
    if not drawn and wanted != built:
        way = "use data.draw=auto" if all_frames else REBUILD
        changed = ", ".join(differences(asdict(built), asdict(wanted)))
        raise UsageError(f"the shards' stored variants differ from the settings ({changed}); {way}")
    if drawn and needs_embeddings(wanted) and not build["shard"].get("embeds", False):
        raise UsageError(
            "sampler.grouping=semantic draws by frame embeddings, which these shards do not hold; use "
            "data.draw=stored, or build them again with --set shard.embeds=true"
        )
    if neighbours and not all_frames:
        raise UsageError(
            "policy.frame_pairs=neighbours: these shards hold only the sampled frames; build them again with "
            "--set shard.frames=all, or use frame_pairs=doubled"
        )
    _check_tiers(build, settings.views, drawn=drawn)
    return ViewPlan(
        drawn=drawn,
        sampler=wanted,
        spatial=settings.views,
        multiple=int(build["decode"]["multiple"]),
        neighbours=neighbours,
    )


def training_group(sample: Sample, plan: ViewPlan, *, seed: int, epoch: int) -> Group:
    """The M variants of a sample in this epoch, each with its spatial view.

    Raises DamagedError for a frame that cannot be decoded.
    """
    settings, kinds = plan.sampler, _kinds(sample, plan)
    key: dict[str, Any] = {"seed": seed, "sample_id": sample.meta.question.sample_id, "epoch": epoch}
    chosen = choose_views(tuple(kinds), plan.spatial, variants=settings.variants, **key)
    if not plan.drawn:
        return _shown(sample, sample.variants, chosen, plan)
    counts = [kinds.get(view.kind, settings.frames) for view in chosen]
    at = comb_offset(**key)
    drawn = {
        count: drawn_variants(sample, replace(settings, frames=count), offset=at) for count in set(counts)
    }
    return _shown(sample, [drawn[count][m] for m, count in enumerate(counts)], chosen, plan)


def drawn_variants(sample: Sample, settings: SamplerSettings, *, offset: float) -> Indices:
    """Variants int32 [M, K] by the settings' sampler, from what the sample stores."""
    embeddings = None if sample.embeds is None else sample.embeds.astype(np.float32)
    return draw(
        settings.name, sample.scores, settings, offset=offset, embeddings=embeddings, times=sample.times
    )


def _kinds(sample: Sample, plan: ViewPlan) -> dict[Kind, int]:
    """Kinds of view that show other frames or pixels of the sample than a whole view and keep its answer,
    with the frames of each: as many as the tokens of the plan's frames pay for."""
    frames, counts = plan.sampler.frames, dict[Kind, int]()
    for kind in allowed_kinds(sample.meta.question, plan.spatial):
        if kind == "crop":
            counts[kind] = frames
            continue
        stored = _read(jpeg_size, sample.jpegs[0], sample)
        whole, size = (view_size(each, stored, plan.spatial, plan.multiple) for each in ("whole", kind))
        count = view_frames(frames, whole, size)
        if sample.meta.info.is_image:
            differs = size != whole
        else:  # More frames than the sample has cannot be shown.
            differs = count != frames and (kind == "sharp" or len(sample.times) > frames)
        if differs:
            counts[kind] = count
    return counts


def _shown(
    sample: Sample, variants: Iterable[Indices], chosen: Sequence[SpatialView], plan: ViewPlan
) -> Group:
    """The group of these variants, each view's frames cropped, and in the size of its kind."""
    group, views = group_of(sample, variants, neighbours=plan.neighbours), []
    for view, spatial in zip(group.views, chosen, strict=True):
        height, width = view.frames.shape[1:3]
        frames = view.frames
        if spatial.kind == "crop":
            frames = crop_frames(frames, spatial, still=view.still)
        frames = resize_frames(frames, view_size(spatial.kind, (width, height), plan.spatial, plan.multiple))
        views.append(replace(view, frames=frames, spatial=str(spatial)))
    return replace(group, views=tuple(views))


def group_of(sample: Sample, variants: Iterable[Indices], *, neighbours: bool = False) -> Group:
    """Group with one view for each list of candidates; each frame is decoded once.

    With `neighbours` each frame is followed by the next candidate (policy.frame_pairs). Raises UsageError
    where the sample does not hold it.
    """
    lists = [np.asarray(indices) for indices in variants]
    if neighbours:
        lists = [with_neighbours(indices, sample.stored, len(sample.times)) for indices in lists]
    needed = np.unique(np.concatenate(lists)).astype(np.int32)
    jpegs = zip(needed, sample.jpegs_of(needed), strict=True)
    frames = {int(i): _read(decode_jpeg, jpeg, sample) for i, jpeg in jpegs}
    views = tuple(
        View(
            frames=np.stack([frames[int(i)] for i in indices]),
            times=sample.times[indices],
            paired=neighbours,
            still=sample.meta.info.is_image,
        )
        for indices in lists
    )
    return Group(question=sample.meta.question, views=views)


def with_neighbours(chosen_K: Indices, held_S: Indices, candidates: int) -> Indices:
    """Each chosen candidate followed by the next one of the video, int32 [2K]; the last is repeated. So the
    mean time of a pair lies within half a gap between candidates of the chosen frame's.

    Raises UsageError where the next one is not among the candidates that are held.
    """
    following = np.minimum(np.asarray(chosen_K) + 1, candidates - 1)
    missing = np.setdiff1d(following, held_S)
    if len(missing):
        raise UsageError(
            f"policy.frame_pairs=neighbours: the shards do not hold candidate {missing[0]}, the neighbour of "
            "a chosen one; build them again with --set shard.frames=all, or use frame_pairs=doubled"
        )
    return np.stack([chosen_K, following], axis=1).reshape(-1).astype(np.int32)


def evidence_seen(times: Sequence[float], spans: Sequence[Span]) -> bool | None:
    """Whether a frame lies in a span of evidence (ends included); None without spans."""
    if not spans:
        return None
    return any(start <= time <= end for start, end in spans for time in times)


def _read(read: Callable[[bytes], T], jpeg: bytes, sample: Sample) -> T:
    try:
        return read(jpeg)
    except StriveError as error:
        raise DamagedError(f"sample {sample.meta.question.sample_id!r}: {error}") from error


def _check_tiers(build: Mapping[str, Any], views: ViewSettings, *, drawn: bool) -> None:
    """Tiers draw other numbers of frames, and sharp ones need pixels that the shards hold."""
    if views.tiers and not drawn:
        raise UsageError(
            "data.views.tiers: variants of a tier have another number of frames than those that are stored; "
            + ("use data.draw=auto" if build["shard"]["frames"] == "all" else REBUILD)
        )
    held = build["decode"]["max_pixels"]
    if "sharp" in views.tiers and held < 2 * views.pixels:
        raise UsageError(
            f"data.views.tiers: sharp frames have {2 * views.pixels} pixels, the shards' at most {held}; "
            "lower data.views.pixels, or build again with a larger decode.max_pixels"
        )
