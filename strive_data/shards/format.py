"""One sample as tar bytes, and back. Members and their order are a contract. Pure: opens no file.

Equal samples give equal bytes: fixed mtime, owner and mode, members in a fixed order.

Bytes to be decoded may come from a stranger. Members are never unpacked to disk. Only plain files named
KEY.suffix with the suffixes of the contract are read: no paths, links or devices. Each size is checked
against the bytes that follow before anything is allocated. Arrays are plain .npy without pickles. Frames are
JPEG alone, whose size is checked before it is decoded.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import simplejpeg

from strive_data import SCHEMA_VERSION
from strive_data.common.npy import npy_bytes, read_npy
from strive_data.common.settings import typed
from strive_data.config import MAX_FRAME_PIXELS
from strive_data.errors import DamagedError, FailureKind, SampleError, SettingsError
from strive_data.schema import Candidates, Frames, Question, Sample, SampleMeta, Times, VideoInfo

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
MODE = 0o644
ARRAYS = {
    "scores.npy": np.float32,
    "times.npy": np.float64,
    "variants.npy": np.int32,
    "uniform.npy": np.int32,
    "stored.npy": np.int32,
}
OPTIONAL_ARRAYS = {"embeds.npy": np.float16}
DIMENSIONS = {"variants.npy": 2, "embeds.npy": 2}
PLAIN_FILE = (b"0", b"\0")
NAME = re.compile(rb"([A-Za-z0-9_-]{1,80})\.([A-Za-z0-9.]{1,19})")
SIZE = re.compile(rb"[0-7]{11}[\0 ]")
FRAME = re.compile(r"f\d{4,6}\.jpg")

MAX_JSON_BYTES = 1 << 24
COUNTS = ("width", "height", "decode_errors", "discontinuities", "query_windows")
# The members of KEY.json by the part of SampleMeta that they are in, and those that may be absent.
QUESTION, INFO = Question.__dataclass_fields__, VideoInfo.__dataclass_fields__
META = ("sampler", "scorer", "query_windows")
ABSENT: dict[str, Any] = {"discontinuities": 0, "fps": 0.0, "frame_times": []}


class Member(NamedTuple):
    """A plain file of a tar: its name KEY.suffix, its content, and the offset of its header."""

    key: str
    suffix: str
    content: memoryview
    offset: int

    @property
    def name(self) -> str:
        """Name in the tar."""
        return f"{self.key}.{self.suffix}"


def encode_sample(sample: Sample) -> bytes:
    """The tar members of one sample, without the end-of-archive blocks; a multiple of 512 bytes."""
    blocks = list[bytes]()
    for suffix, content in sample_members(sample):
        header = tarfile.TarInfo(f"{sample.key}.{suffix}")  # of no owner: uid and gid 0
        header.size, header.mode, header.mtime = len(content), MODE, 0
        blocks += [header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % BLOCK_BYTES)]
    return b"".join(blocks)


def decode_sample(block: bytes) -> Sample:
    """The sample of these tar bytes.

    Raises DamagedError for a tar that `encode_sample` cannot have written: members missing, repeated, of
    another name, kind, type or shape, of two samples or of another schema; indices out of range.
    """
    members = _by_suffix(block)
    if missing := [name for name in ("json", *ARRAYS) if name not in members]:
        raise DamagedError(f"not a STRIVE sample: members {', '.join(missing)} are missing")
    present = [name for name in (*ARRAYS, *OPTIONAL_ARRAYS) if name in members]
    arrays = dict[str, npt.NDArray[Any]]()
    for name in present:
        try:
            array = read_npy(members[name], dtype=(ARRAYS | OPTIONAL_ARRAYS)[name])
        except ValueError as error:
            raise DamagedError(f"{name}: {error}") from error
        if array.ndim != DIMENSIONS.get(name, 1):
            raise DamagedError(f"{name}: an array of shape {list(array.shape)}")
        arrays[name.partition(".")[0]] = array
    frames = [name for name in members if FRAME.fullmatch(name)]
    if frames != [f"f{slot:04d}.jpg" for slot in range(len(arrays["stored"]))]:
        raise DamagedError(
            f"{len(frames)} frames for {len(arrays['stored'])} stored candidates, or out of order"
        )
    jpegs = tuple(bytes(members[name]) for name in frames)
    sample = Sample(meta=read_meta(bytes(members["json"])), jpegs=jpegs, **arrays)
    _check_shapes(sample)
    return sample


def tar_members(block: bytes) -> Iterator[Member]:
    """The members of a tar of plain files with safe names, in their order.

    Raises DamagedError, with the byte offset, for any other header.
    """
    view, at = memoryview(block), 0
    while at + BLOCK_BYTES <= len(view) and view[at] != 0:
        header = bytes(view[at : at + BLOCK_BYTES])
        name = NAME.fullmatch(header[:100].rstrip(b"\0"))
        if name is None or header[345:500].strip(b"\0"):
            raise DamagedError(f"byte {at}: {_shown(header)} is not a member name of the form KEY.suffix")
        if header[156:157] not in PLAIN_FILE or header[157:257].strip(b"\0"):
            raise DamagedError(
                f"byte {at}: {_shown(header)} is not a plain file (a link, a device or a folder)"
            )
        if not SIZE.fullmatch(header[124:136]):
            raise DamagedError(f"byte {at}: {_shown(header)} has no size in octal digits")
        size, start = int(header[124:135], 8), at + BLOCK_BYTES
        if start + size > len(view):
            raise DamagedError(
                f"byte {at}: {_shown(header)} claims {size} bytes, but {len(view) - start} follow"
            )
        yield Member(name[1].decode(), name[2].decode(), view[start : start + size], at)
        at = start + -(-size // BLOCK_BYTES) * BLOCK_BYTES


def sample_members(sample: Sample) -> Iterator[tuple[str, bytes]]:
    """(suffix, content) of each member of a sample, in their order in the tar."""
    yield "json", json.dumps(sample.meta.to_json(), ensure_ascii=False).encode()
    for name, dtype in (ARRAYS | OPTIONAL_ARRAYS).items():
        values = getattr(sample, name.partition(".")[0])
        if values is None and name in OPTIONAL_ARRAYS:
            continue
        yield name, npy_bytes(np.asarray(values, dtype=dtype))
    for slot, jpeg in enumerate(sample.jpegs):
        yield f"f{slot:04d}.jpg", jpeg


def read_meta(content: bytes) -> SampleMeta:
    """Decode `KEY.json`. Raises DamagedError for another schema version or content."""
    if len(content) > MAX_JSON_BYTES:
        raise DamagedError(f"json: {len(content)} bytes, more than the limit of {MAX_JSON_BYTES}")
    try:
        body = orjson.loads(content)  # which refuses lone surrogates: no tokenizer or table can encode them
    except ValueError as error:
        raise DamagedError(f"json: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise DamagedError("json: not a JSON object")
    version = body.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DamagedError(
            f"sample has schema version {version}, this package reads {SCHEMA_VERSION}: "
            "build the shards again, or use the version that made them"
        )
    body = ABSENT | body
    if missing := [name for name in (*QUESTION, *INFO, *META) if name not in body]:
        raise DamagedError(f"json: {missing[0]} is missing")
    parts = {"question": {name: body[name] for name in QUESTION}, "info": {name: body[name] for name in INFO}}
    try:
        meta = typed(SampleMeta, parts | {name: body[name] for name in META})
    except SettingsError as error:
        raise DamagedError(f"json: {error}") from error
    for name in COUNTS:
        if not 0 <= body[name] < 1 << 31:
            raise DamagedError(f"json: {name} is {body[name]}, expected a count below 2**31")
    if any(len(span) != 2 for span in body["evidence_spans"]):
        raise DamagedError("json: evidence_spans: expected a start and an end each")
    return meta


def _by_suffix(block: bytes) -> Mapping[str, memoryview]:
    members: dict[str, memoryview] = {}
    first = ""
    for member in tar_members(block):
        first = first or member.key
        known = member.suffix in ("json", *ARRAYS, *OPTIONAL_ARRAYS) or FRAME.fullmatch(member.suffix)
        if member.key != first:
            raise DamagedError(f"byte {member.offset}: {member.name} is a member of another sample")
        if not known or member.suffix in members:
            wrong = "is repeated" if known else "is not a member of the schema and is not read"
            raise DamagedError(f"byte {member.offset}: {member.name} {wrong}")
        members[member.suffix] = member.content
    return members


def _check_shapes(sample: Sample) -> None:
    """Raise DamagedError unless arrays agree in N and K and indices are those of candidates."""
    count, frames = len(sample.times), len(sample.uniform)
    if count == 0 or len(sample.scores) != count or sample.variants.shape[1] != frames:
        names = ("scores", "times", "variants", "uniform")
        shapes = {name: list(getattr(sample, name).shape) for name in names}
        raise DamagedError(f"arrays of different lengths: {shapes}")
    if sample.embeds is not None and len(sample.embeds) != count:
        raise DamagedError(f"embeds.npy: {len(sample.embeds)} rows for {count} candidates")
    for name in ("variants", "uniform", "stored"):
        indices = getattr(sample, name)
        if indices.size and (indices.min() < 0 or indices.max() >= count):
            raise DamagedError(
                f"{name}.npy: indices {indices.min()} to {indices.max()} of {count} candidates"
            )


def _shown(header: bytes) -> str:
    return ascii(header[:100].rstrip(b"\0").decode("latin-1"))


Colours = Literal["RGB", "GRAY"]


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) by the header. Raises DamagedError for no JPEG, or more than MAX_FRAME_PIXELS."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        raise DamagedError(f"a stored frame is not a JPEG image: {error}") from error
    if width * height > MAX_FRAME_PIXELS:
        raise DamagedError(
            f"a stored frame claims {width}×{height} pixels, more than the limit of {MAX_FRAME_PIXELS}: "
            "it is taken for an image bomb and not decoded"
        )
    return width, height


def decode_jpeg(jpeg: bytes, *, colours: Colours = "RGB") -> Frames:
    """Pixels uint8 [H, W, 3], or [H, W, 1] in grey. Raises DamagedError as `jpeg_size`, or for damage."""
    jpeg_size(jpeg)
    try:
        pixels: Frames = simplejpeg.decode_jpeg(jpeg, colorspace=colours)
    except ValueError as error:
        raise DamagedError(f"a stored frame is not a whole JPEG image: {error}") from error
    return pixels


END_OF_IMAGE = b"\xff\xd9"

# Full chroma: stored frames are small, and halving their colour resolution again would blur small text.
CHROMA = "444"
ENCODERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedFrames:
    """One video: times float64 [N] seconds, and the JPEGs of candidates, each encoded when first asked for.

    `frames` uint8 RGB [N, H, W, 3] are there while some are not encoded.
    """

    info: VideoInfo
    times: Times
    jpegs: dict[int, bytes] = field(default_factory=dict)
    frames: Frames | None = None
    quality: int = 90

    def jpegs_of(self, places: Iterable[int]) -> tuple[bytes, ...]:
        """JPEGs of these candidates, encoded in threads: the library frees the interpreter.

        Raises SampleError (encode_failed) for one that cannot be encoded.
        """
        wanted, frames = [int(place) for place in places], self.frames
        if frames is not None:
            missing = [place for place in dict.fromkeys(wanted) if place not in self.jpegs]
            with ThreadPoolExecutor(ENCODERS) as pool:
                done = pool.map(lambda place: encode_jpeg(frames[place], self.quality), missing)
                self.jpegs.update(zip(missing, done, strict=True))
        return tuple(self.jpegs[place] for place in wanted)


def encode_frames(candidates: Candidates, quality: int) -> EncodedFrames:
    """The encoded frames of decoded candidates."""
    return EncodedFrames(
        info=candidates.info, times=candidates.times, frames=candidates.frames, quality=quality
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
