"""What the numbers of one sample must obey, whatever its bytes. Pure: a sample in, sentences out.

Shapes: N candidates, M variants, K frames, S stored frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from strive_data.config import BuildSettings
from strive_data.errors import StriveError
from strive_data.jpeg import decode_jpeg
from strive_data.samplers import phase, uniform_indices
from strive_data.sampling import BUILD_EPOCH
from strive_data.schema import Sample
from strive_data.timeline import ROUNDING_SECONDS, storage_size

END_OF_IMAGE = b"\xff\xd9"


def broken_rules(sample: Sample, settings: BuildSettings) -> list[str]:
    """Every rule of the contract that the sample breaks under the settings of its build."""
    return [*_of_candidates(sample), *_of_indices(sample, settings), *_of_meta(sample, settings)]


def broken_frames(sample: Sample, settings: BuildSettings) -> Iterator[tuple[int, str]]:
    """(slot, what) of each stored frame that is no whole JPEG of the stated size."""
    wanted = _frame_size(sample, settings)
    for slot, jpeg in enumerate(sample.jpegs):
        try:
            height, width = decode_jpeg(jpeg).shape[:2]
        except StriveError as error:
            yield slot, str(error)
            continue
        if not jpeg.endswith(END_OF_IMAGE):
            yield slot, "the JPEG does not end where the member ends"
        if wanted != (width, height):
            yield slot, f"the JPEG has {width}×{height} pixels, expected {_shown(wanted)}"


def _of_candidates(sample: Sample) -> Iterator[str]:
    times, duration = sample.times, sample.meta.info.duration_seconds
    if not np.isfinite(sample.scores).all():
        yield f"scores: {int((~np.isfinite(sample.scores)).sum())} are not finite"
    if not (np.isfinite(times).all() and _increases(times)):
        yield "times: not finite and strictly increasing"
    elif times[0] < 0 or times[-1] > duration + ROUNDING_SECONDS:
        yield f"times: {times[0]} to {times[-1]} s, in a video of {duration} s"
    if sample.embeds is not None and not np.isfinite(sample.embeds).all():
        yield "embeds: not all finite"


def _of_indices(sample: Sample, settings: BuildSettings) -> Iterator[str]:
    count, wanted = len(sample.times), settings.sampler
    shape = (wanted.variants, min(wanted.frames, count))
    if sample.variants.shape != shape:
        yield f"variants: shape {list(sample.variants.shape)}, expected {list(shape)}"
    for row, variant in enumerate(sample.variants):
        if not _increases(variant):
            yield f"variants: row {row} is not strictly increasing"
    if not np.array_equal(sample.uniform, uniform_indices(count, wanted.frames)):
        yield "uniform: not the midpoint-uniform control"
    union = np.union1d(sample.variants, sample.uniform)
    everything = settings.shard.frames == "all"
    if not np.array_equal(sample.stored, np.arange(count) if everything else union):
        yield f"stored: not {'all candidates' if everything else 'the union of variants and uniform'}"
    if (sample.embeds is not None) != settings.shard.embeds:
        yield f"embeds: {'missing' if settings.shard.embeds else 'there'}, against shard.embeds"


def _of_meta(sample: Sample, settings: BuildSettings) -> Iterator[str]:
    sample_id = sample.meta.question.sample_id
    drawn = {"phase": phase(settings.sampler.seed, sample_id, BUILD_EPOCH)}
    if sample.meta.sampler != asdict(settings.sampler) | drawn:
        yield "json: the sampler is not that of the build's settings, or its phase not that of the sample"
    if sample.meta.query_windows < 1:
        yield f"json: {sample.meta.query_windows} query windows"


def _frame_size(sample: Sample, settings: BuildSettings) -> tuple[int, int] | None:
    info, decode = sample.meta.info, settings.decode
    if info.width < 1 or info.height < 1:
        return None
    return storage_size(info.width, info.height, decode.max_pixels, decode.multiple)


def _shown(size: tuple[int, int] | None) -> str:
    return f"{size[0]}×{size[1]}" if size else "the stored size of a video with a size"


def _increases(values: npt.NDArray[np.int32] | npt.NDArray[np.float64]) -> bool:
    return bool((values[1:] > values[:-1]).all())
