"""Decoded and embedded videos kept by content: new questions on old videos cost no decoding, no image model.

An entry is `FOLDER/ab/FRAMES/KEY.npz`: times, VideoInfo, a JPEG of every candidate, their embeddings, and
behind the zip the sha256 of all of it. KEY hashes all that these depend on, the video file's bytes first, so
that no entry ever has to be thrown out: what has changed has another key. FRAMES hashes what the frames alone
depend on, so that who needs no embeddings finds those of any image model. Nothing in an entry is a pickle.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from strive_data import __version__
from strive_data.common.npy import read_npy
from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.errors import StriveError, UsageError
from strive_data.schema import Candidates, Floats, VideoInfo
from strive_data.shards.frames import CHROMA, EncodedFrames
from strive_data.shards.provenance import package_versions

FORMAT = 2
FRAMES_ONLY = ""
"""The identity of a cache without an image model: it takes the frames of any entry."""
DIGEST_BYTES = 32
BLOCK_BYTES = 1 << 20
ARRAYS = {
    "info": np.uint8,
    "times": np.float64,
    "embeddings": np.float32,
    "jpeg_sizes": np.int64,
    "jpegs": np.uint8,
}
DECODERS = ("av", "decord", "numpy", "simplejpeg")


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptVideo:
    """A hit: the video's stills, and the unit embeddings float32 [N, D] of its frames."""

    stills: EncodedFrames
    embeddings: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MissedVideo:
    """A miss: the video as decoded, where to keep it (None: nowhere), the damaged entry met there, if any."""

    candidates: Candidates
    entry: Path | None
    damaged: Path | None


@dataclass(frozen=True, kw_only=True)
class VideoCache:
    """The entries of one model (`identity`, or FRAMES_ONLY) and one JPEG quality below `folder`.

    Picklable, so that decoding workers look up, hash and decode by themselves.
    """

    folder: Path
    identity: str
    quality: int

    def read(self, path: Path, settings: DecodeSettings) -> KeptVideo | MissedVideo:
        """The kept video, or the video decoded. Raises what `read_candidates` does."""
        entry = self._entry(path, settings)
        damaged = None
        for known in self._known(entry):
            kept = read_entry(known)
            if kept is not None:
                return kept if self.identity else replace(kept, embeddings=kept.embeddings[:, :0])
            damaged = known
        candidates = read_candidates(path, settings)
        if entry is not None and self._entry(path, settings) != entry:
            entry = None  # the file was written to meanwhile
        return MissedVideo(candidates=candidates, entry=entry, damaged=damaged)

    def key(self, video_sha256: str, settings: DecodeSettings) -> str:
        """Hash of the video's bytes and of all that turns them into an entry; a limit changes none."""
        parts = [self.frames_key(video_sha256, settings), self.identity]
        return sha256(json.dumps(parts).encode()).hexdigest()

    def frames_key(self, video_sha256: str, settings: DecodeSettings) -> str:
        """The same of an entry's frames: whatever embedded them."""
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

    def _entry(self, path: Path, settings: DecodeSettings) -> Path | None:
        """Where the video's entry is or would be; None where it cannot be read: the reader says why."""
        try:
            video_sha256 = _file_sha256(path)
        except OSError:
            return None
        frames = self.frames_key(video_sha256, settings)
        return self.folder / frames[:2] / frames / f"{self.key(video_sha256, settings)}.npz"

    def _known(self, entry: Path | None) -> list[Path]:
        """Entries that would do: this one, or without an image model all of these frames."""
        if entry is None:
            return []
        if self.identity == FRAMES_ONLY:
            return sorted(entry.parent.glob("*.npz"))
        return [entry] if entry.is_file() else []


def check_cache_folder(folder: Path) -> None:
    """Make the folder. Raises UsageError where entries cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--cache {folder}: {error.strerror}; name a folder that can be written") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--cache {folder}: no right to write there; name another folder")


def write_entry(entry: Path, stills: EncodedFrames, embeddings: Floats) -> None:
    """Keep a video, by rename: the entry is whole or absent.

    Raises SampleError (encode_failed) for a frame that is no picture and StriveError where it cannot be
    written.
    """
    jpegs = stills.jpegs_of(range(len(stills.jpegs)))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        info=_bytes(json.dumps(asdict(stills.info)).encode()),
        times=stills.times,
        embeddings=embeddings,
        jpeg_sizes=np.array([len(jpeg) for jpeg in jpegs], dtype=np.int64),
        jpegs=_bytes(b"".join(jpegs)),
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
            f"cache entry {entry}: {error.strerror}; make room, or leave --cache out"
        ) from error


def read_entry(entry: Path) -> KeptVideo | None:
    """The kept video, or None where a byte of the entry is not as written, or the entry is none of ours.

    The digest is no secret, so what it covers is read with care too: only members that are stored as they
    are (nothing is decompressed), only arrays of the expected types.
    """
    content = entry.read_bytes()
    payload, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if digest != _digest(entry, payload):
        return None
    try:
        arrays = {name: read_npy(_stored(payload, name), dtype=dtype) for name, dtype in ARRAYS.items()}
        info = VideoInfo(**json.loads(arrays["info"].tobytes()))
    except (ValueError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return None
    joined, sizes = arrays["jpegs"].tobytes(), arrays["jpeg_sizes"]
    count = len(sizes)
    if (sizes < 0).any() or sizes.sum() != len(joined):
        return None
    if arrays["times"].shape != (count,) or arrays["embeddings"].shape[:-1] != (count,):
        return None
    ends = np.cumsum(sizes)
    jpegs = [joined[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    stills = EncodedFrames(info=info, times=arrays["times"], jpegs=jpegs)
    return KeptVideo(stills=stills, embeddings=arrays["embeddings"])


def _stored(payload: bytes, name: str) -> bytes:
    """A member of the zip. Raises ValueError for a compressed one: it could be of any size."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(payload):
            raise ValueError(f"{name} is compressed")
        return archive.read(member)


def _digest(entry: Path, payload: bytes) -> bytes:
    """The key is part of it: an entry under another's name is none."""
    return sha256(entry.stem.encode() + payload).digest()


def _file_sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)
