"""The bytes of one sample → the sample, and everything that is wrong with them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from strive_data.config import BuildSettings
from strive_data.decode.frame_times import ROUNDING_SECONDS, storage_size
from strive_data.engines.results import BUILD_EPOCH
from strive_data.errors import DamagedError, StriveError
from strive_data.sampling.baselines import uniform_indices
from strive_data.sampling.comb import comb_offset
from strive_data.schema import Sample
from strive_data.shards.format import BLOCK_BYTES, Member, decode_sample, sample_members, tar_members
from strive_data.shards.frames import END_OF_IMAGE, decode_jpeg

# What the numbers of one sample must obey, whatever its bytes. Pure: a sample in, sentences out.
#
# Shapes: N candidates, M variants, K frames, S stored frames.


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
    drawn = {"phase": comb_offset(settings.sampler.seed, sample_id, BUILD_EPOCH)}
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


MODE = 0o644


def check_sample(
    block: bytes, sample_id: str, settings: BuildSettings
) -> tuple[Sample | None, list[tuple[int, str]]]:
    """The sample of these tar bytes, None where they hold none, and (byte in the block, what is wrong)."""
    try:
        sample = decode_sample(block)
    except DamagedError as error:
        return None, [(0, str(error))]
    members = list(tar_members(block))
    found = [*_of_tar(block, members), *_of_members(members, sample)]
    written = sample.meta.question.sample_id
    if written != sample_id:
        found.append((0, f"json: the sample calls itself {written!r}"))
    if members[0].key != sample.key:
        found.append((0, f"members are called {members[0].key}, expected {sample.key}"))
    found += [(0, rule) for rule in broken_rules(sample, settings)]
    place = {member.suffix: member.offset for member in members}
    for slot, what in broken_frames(sample, settings):
        name = f"f{slot:04d}.jpg"
        found.append((place[name], f"{name}: {what}"))
    return sample, found


def tar_header(name: str, size_bytes: int) -> bytes:
    """The only header that a member may have: mtime 0, uid and gid 0, no names, mode 0644, a plain file."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size_bytes, MODE, 0
    return header.tobuf(tarfile.USTAR_FORMAT)


def _of_tar(block: bytes, members: list[Member]) -> Iterator[tuple[int, str]]:
    """Headers and padding that are not those of the contract; bytes behind the last member."""
    end = 0
    for member in members:
        start = member.offset + BLOCK_BYTES
        if block[member.offset : start] != tar_header(member.name, len(member.content)):
            yield member.offset, f"{member.suffix}: its header differs in time, owner, mode or checksum"
        last = start + len(member.content)
        end = last + -len(member.content) % BLOCK_BYTES
        if any(block[last:end]):
            yield last, f"{member.suffix}: the padding behind it is not zero"
    if end != len(block):
        yield end, f"{len(block) - end} bytes behind the last member"


def _of_members(members: list[Member], sample: Sample) -> Iterator[tuple[int, str]]:
    """Members out of order, or not in the one form that they are written in."""
    for member, written in zip_longest(members, sample_members(sample)):
        if member is None or written is None or member.suffix != written[0]:
            order = ", ".join(name for name, _ in sample_members(sample))
            yield member.offset if member else 0, f"members are not in the order {order}"
            return
        if bytes(member.content) != written[1]:
            yield member.offset, f"{member.suffix}: not in the form that the package writes"
