"""A cache of decoded and embedded videos: new questions on a cached video need no decoder and no image model.

An entry is `FOLDER/ab/FRAMES/KEY.npz`: times, VideoInfo, a JPEG of every candidate, their embeddings, and
after the zip the sha256 of all of it. KEY hashes everything the content depends on, the bytes of the video
file first, so a change of settings, versions or file leads to another key and no entry is ever stale. FRAMES
hashes what the frames alone depend on, so that a build without image model finds the frames of any model.

Entries may be forged. The digest is no secret, so an entry is used only if its content also agrees with the
settings: stored (not compressed) arrays of the expected types, counts, times, and JPEG headers.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from strive_data import __version__
from strive_data.common.files import file_sha256, read_regular_file
from strive_data.common.npy import read_npy
from strive_data.common.settings import load
from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.frame_times import ROUNDING_SECONDS, storage_size
from strive_data.decode.pictures import folder_sha256
from strive_data.errors import SampleError, StriveError, UsageError
from strive_data.schema import Candidates, Floats, LocalVideo, TimedFolder, VideoInfo
from strive_data.shards.format import CHROMA, END_OF_IMAGE, EncodedFrames, jpeg_size
from strive_data.shards.manifest import package_versions

FORMAT = 3
FRAMES_ONLY = ""
"""The identity of a cache without an image model: it accepts the frames of any entry."""
DIGEST_BYTES = 32
ARRAYS = {
    "info": np.uint8,
    "times": np.float64,
    "embeddings": np.float32,
    "jpeg_sizes": np.int64,
    "jpegs": np.uint8,
}
DECODERS = ("av", "decord", "numpy", "simplejpeg")
# An entry larger than these allow is forged: reading it could exhaust the memory.
MAX_BYTES_PER_PIXEL = 6
MAX_OTHER_BYTES_PER_FRAME = 1 << 17
MAX_UNIT_NORM = 1.01
UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, ArithmeticError),
    *(struct.error, zipfile.BadZipFile, StriveError),
)
"""What reading a damaged or forged entry raises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheHit:
    """A cached video: its encoded frames, and their unit embeddings float32 [N, D]."""

    frames: EncodedFrames
    embeddings: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheMiss:
    """A decoded video; `entry` is where to write it (None: nowhere)."""

    candidates: Candidates
    entry: Path | None
    damaged_entry: Path | None


@dataclass(frozen=True, kw_only=True)
class VideoCache:
    """The entries of one image model (`identity`, or FRAMES_ONLY) and one JPEG quality below `folder`.

    `embedding_size` is the model's D. Picklable: each decoding worker hashes, looks up and decodes by itself.
    """

    folder: Path
    identity: str
    quality: int
    embedding_size: int

    def read(self, path: LocalVideo, settings: DecodeSettings) -> CacheHit | CacheMiss:
        """The video from its entry, or decoded. Raises what `read_candidates` raises."""
        entry, found = self._entry(path, settings), list[Path]()
        if entry is not None and self.identity == FRAMES_ONLY:
            found = sorted(entry.parent.glob("*.npz"))
        elif entry is not None and os.path.lexists(entry):
            found = [entry]
        damaged = None
        for candidate in found:
            hit = read_entry(candidate, settings, self.embedding_size if self.identity else None)
            if hit is not None:
                return hit if self.identity else replace(hit, embeddings=hit.embeddings[:, :0])
            damaged = candidate
        candidates = read_candidates(path, settings)
        if entry is not None and (obstacle := _obstacle(entry)):
            entry, damaged = None, obstacle
        if entry is not None and self._entry(path, settings) != entry:
            entry = None  # the file changed while it was decoded
        return CacheMiss(candidates=candidates, entry=entry, damaged_entry=damaged)

    def key(self, video_sha256: str, settings: DecodeSettings) -> str:
        """Hash of the video's bytes and of everything that turns them into an entry; limits do not count."""
        parts = [self.frames_key(video_sha256, settings), self.identity]
        return sha256(json.dumps(parts).encode()).hexdigest()

    def frames_key(self, video_sha256: str, settings: DecodeSettings) -> str:
        """The same for the frames of an entry, whatever model embedded them."""
        versions = package_versions()
        decode = asdict(settings)
        del decode["timeout_seconds"], decode["memory_bytes"], decode["max_source_pixels"]
        parts = {
            "format": [FORMAT, __version__],
            "video": video_sha256,
            "decode": decode,
            "jpeg": [self.quality, CHROMA],
            "versions": {name: versions[name] for name in DECODERS},
        }
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _entry(self, path: LocalVideo, settings: DecodeSettings) -> Path | None:
        """The path of the video's entry; None if the video cannot be read: the reader reports why."""
        try:
            if isinstance(path, TimedFolder):
                video_sha256 = folder_sha256(path.path, path.fps or None, path.frame_times)
            else:
                video_sha256 = folder_sha256(path) if path.is_dir() else file_sha256(path)
        except (OSError, SampleError):
            return None
        frames = self.frames_key(video_sha256, settings)
        return self.folder / frames[:2] / frames / f"{self.key(video_sha256, settings)}.npz"


def check_cache_folder(folder: Path) -> None:
    """Make the folder. Raises UsageError if entries cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--cache {folder}: {error.strerror}; name a folder that can be written") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--cache {folder}: no permission to write there; name another folder")


def write_entry(entry: Path, frames: EncodedFrames, embeddings: Floats) -> None:
    """Write an entry by rename: it is whole or absent.

    Raises SampleError (encode_failed) for a frame that cannot be encoded, StriveError if the entry cannot be
    written.
    """
    jpegs = frames.jpegs_of(range(len(frames.times)))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        info=np.frombuffer(json.dumps(asdict(frames.info)).encode(), dtype=np.uint8),
        times=frames.times,
        embeddings=embeddings,
        jpeg_sizes=np.array([len(jpeg) for jpeg in jpegs], dtype=np.int64),
        jpegs=np.frombuffer(b"".join(jpegs), dtype=np.uint8),
    )
    payload = buffer.getvalue()
    temporary = entry.with_name(f".{entry.stem}.{os.getpid()}.tmp")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(payload + _digest(entry, payload))
        temporary.replace(entry)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StriveError(
            f"cache entry {entry}: {error.strerror}; free space, or leave --cache out"
        ) from error


def read_entry(entry: Path, settings: DecodeSettings, embedding_size: int | None = None) -> CacheHit | None:
    """The cached video; None if the entry is damaged, or its content does not fit the settings.

    `embedding_size` None accepts embeddings of any size.
    """
    most_bytes = MAX_BYTES_PER_PIXEL * settings.max_pixels + MAX_OTHER_BYTES_PER_FRAME
    try:
        content = read_regular_file(entry, max_bytes=settings.candidates * most_bytes)
        payload, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if digest != _digest(entry, payload):
            return None
        arrays = {name: read_npy(_member(payload, name), dtype=dtype) for name, dtype in ARRAYS.items()}
        parsed = orjson.loads(arrays["info"].tobytes())  # which refuses lone surrogates
        if not isinstance(parsed, dict):
            return None
        return _checked_hit(load(VideoInfo, options=parsed), arrays, settings, embedding_size)
    except UNREADABLE:
        return None


def _checked_hit(
    info: VideoInfo,
    arrays: dict[str, npt.NDArray[Any]],
    settings: DecodeSettings,
    embedding_size: int | None,
) -> CacheHit | None:
    """The content of an entry; None if it is impossible for a video that was decoded with these settings."""
    times, embeddings, sizes = arrays["times"], arrays["embeddings"], arrays["jpeg_sizes"]
    count, joined = len(sizes), arrays["jpegs"].tobytes()
    sound = (
        sizes.shape == times.shape == embeddings.shape[:1] == (count,)
        and 1 <= count <= settings.candidates
        and (embeddings.ndim == 2 and embedding_size in (None, embeddings.shape[1]))
        and (np.linalg.norm(embeddings.astype(np.float64), axis=1) <= MAX_UNIT_NORM).all()
        and (np.isfinite(times).all() and (times[1:] > times[:-1]).all() and times[0] >= 0)
        and np.isfinite(info.duration_seconds)
        and times[-1] <= info.duration_seconds + ROUNDING_SECONDS
        and min(info.decode_errors, info.discontinuities) >= 0
        and (sizes >= 0).all()
        and sum(sizes.tolist()) == len(joined)
    )
    if not sound:
        return None
    ends = np.cumsum(sizes)
    jpegs = {i: joined[end - size : end] for i, (size, end) in enumerate(zip(sizes, ends, strict=True))}
    wanted = storage_size(info.width, info.height, settings.max_pixels, settings.multiple)
    if not all(jpeg_size(jpeg) == wanted and jpeg.endswith(END_OF_IMAGE) for jpeg in jpegs.values()):
        return None
    return CacheHit(frames=EncodedFrames(info=info, times=times, jpegs=jpegs), embeddings=embeddings)


def _member(payload: bytes, name: str) -> bytes:
    """A member of the zip. Raises ValueError for a compressed one, which could unpack to any size."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(payload):
            raise ValueError(f"{name} is compressed")
        return archive.read(member)


def _obstacle(entry: Path) -> Path | None:
    """What prevents writing the entry: a folder in its place, or a file in place of its folders."""
    for folder in (entry.parent.parent, entry.parent):
        if os.path.lexists(folder) and not folder.is_dir():
            return folder
    return entry if entry.is_dir() else None


def _digest(entry: Path, payload: bytes) -> bytes:
    """Covers the key, so that an entry under the name of another is damaged."""
    return sha256(entry.stem.encode() + payload).digest()
