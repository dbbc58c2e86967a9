"""The frames of a build's videos as unit vectors: a descriptor, stored embeddings, or those of a scorer.

The descriptor is our construction, after perceptual hashes. A frame is made 64×64 grey; the lowest 8×8
frequencies of its cosine transform, without the mean and the rest weighted by √frequency, are the descriptor.
It does not change with brightness, contrast, size, codec or bit rate. Cropping does change it, so a frame has
one descriptor for each of 31 views: itself, and parts of it (.85 and .7 of one side or of both, at the
beginning, in the middle and at the end); a cropped copy looks like one of the parts. It needs no model and no
network. Shapes: V views, S side of the small picture, B frequencies, D = B².
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from strive_data.config import ScoreSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.tables import scan
from strive_data.schema import Floats, Frames, Sample, Times
from strive_data.score import make_scorer
from strive_data.score.scorer import FrameEmbedder
from strive_data.shards.format import decode_jpeg
from strive_data.shards.reader import ShardSet

SIDE = 64
FREQUENCIES = 8
PARTS = (0.85, 0.7)
LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels below which a view shows nothing: black frames are no match."""

Float64s = npt.NDArray[np.float64]
Interval = tuple[int, int]


def views() -> list[tuple[Interval, Interval]]:
    """(rows, columns) of each view as half-open intervals of the small picture; the first is all of it."""
    whole = (0, SIDE)
    found = [(whole, whole)]
    for part in PARTS:
        length = round(part * SIDE)
        starts = (0, (SIDE - length) // 2, SIDE - length)
        sides = [(start, start + length) for start in starts]
        found += [(whole, side) for side in sides] + [(side, whole) for side in sides]
        found += [(rows, columns) for rows in sides for columns in sides]
    return found


def describe(frame: Frames) -> Floats:
    """Descriptors float32 [V, D] of one frame, uint8 grey [H, W] or RGB [H, W, 3].

    Of unit length; all zeros where a view has less than LEAST_CONTRAST, so that it resembles nothing.
    """
    picture = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    levels_SS = np.asarray(picture, dtype=np.float64)
    rows = [_describe_view(levels_SS[slice(*rows), slice(*columns)]) for rows, columns in VIEWS]
    return np.stack(rows).astype(np.float32)


def _describe_view(levels: Float64s) -> Float64s:
    height, width = levels.shape
    waves_BB = COSINES[height] @ levels @ COSINES[width].T
    waves_BB[0, 0] = 0
    if np.linalg.norm(waves_BB) < LEAST_CONTRAST * np.sqrt(height * width):
        return np.zeros(FREQUENCIES**2)
    weighted_BB = waves_BB * WEIGHTS
    unit: Float64s = weighted_BB.ravel() / np.linalg.norm(weighted_BB)
    return unit


def cosines(length: int) -> Float64s:
    """The first rows [B, length] of the orthonormal cosine transform (DCT-II)."""
    rows = np.arange(FREQUENCIES)[:, None]
    waves = np.cos(np.pi * rows * (2 * np.arange(length) + 1) / (2 * length)) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)


VIEWS = views()
COSINES = {length: cosines(length) for rows, _ in VIEWS for length in (rows[1] - rows[0],)}
WEIGHTS = np.sqrt(np.hypot(*np.meshgrid(np.arange(FREQUENCIES), np.arange(FREQUENCIES))))

PICTURE, STORED = "picture", "stored"


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoVectors:
    """One video of a build, and how many samples use it.

    times float64 [F] seconds of its frames; unit vectors float32 [F, V, D] of V views of each, the first of
    which is the whole frame; `spacing_seconds` between candidates.
    """

    video: str
    video_id: str
    samples: int
    spacing_seconds: float
    times: Times
    vectors: npt.NDArray[np.float32]


Embed = Callable[[Sequence[Sample]], tuple[Times, npt.NDArray[np.float32]]]
"""Samples of one video → times [F] and vectors [F, V, D]."""


def embed_by(name: str, score: ScoreSettings) -> Embed:
    """The embedding called `name`: `picture`, `stored`, or a scorer that embeds frames.

    Raises SettingsError for a scorer that does not, and UsageError for one that cannot be loaded.
    """
    if name == PICTURE:
        return _by_picture
    if name == STORED:
        return _by_stored
    scorer = make_scorer(score)
    if not isinstance(scorer, FrameEmbedder):
        raise SettingsError(f"--by {name}: this scorer embeds no frames; use picture, stored, clip or demo")
    embedder = scorer
    return lambda samples: _by_scorer(samples, embedder)


def read_video_vectors(folder: Path, embed: Embed) -> Iterator[VideoVectors]:
    """The videos of a finished build, one at a time, in the order of their first sample.

    Raises UsageError for a folder that is no finished build or has no sample.
    """
    shards = ShardSet.open(folder)
    if not len(shards):
        raise UsageError(f"{folder}: the build has no samples, so there is nothing to compare")
    named = scan(folder, "samples").select("sample_id", "video", "video_id").collect()
    video_of = {sample_id: (video, video_id) for sample_id, video, video_id in named.rows()}
    places: dict[tuple[str, str], list[int]] = {}
    for place, sample_id in enumerate(shards.sample_ids):
        places.setdefault(video_of[sample_id], []).append(place)
    for (video, video_id), of in places.items():
        samples = [shards.read(place) for place in of]
        times, vectors = embed(samples)
        yield VideoVectors(
            video=video,
            video_id=video_id,
            samples=len(samples),
            spacing_seconds=samples[0].meta.info.duration_seconds / len(samples[0].times),
            times=times,
            vectors=vectors,
        )


def stored_frames(samples: Sequence[Sample]) -> dict[int, bytes]:
    """JPEG by candidate of all frames that the samples of one video store, in the order of time."""
    pairs = ((i, jpeg) for s in samples for i, jpeg in zip(s.stored.tolist(), s.jpegs, strict=True))
    return dict(sorted(dict(pairs).items()))


def _by_picture(samples: Sequence[Sample]) -> tuple[Times, npt.NDArray[np.float32]]:
    frames = stored_frames(samples)
    grey = (decode_jpeg(jpeg, colours="GRAY")[..., 0] for jpeg in frames.values())
    return samples[0].times[list(frames)], np.stack([describe(frame) for frame in grey])


def _by_stored(samples: Sequence[Sample]) -> tuple[Times, npt.NDArray[np.float32]]:
    embeds = samples[0].embeds
    if embeds is None:
        sample_id = samples[0].meta.question.sample_id
        raise UsageError(
            f"--by stored: sample {sample_id!r} has no embeddings; build with --set shard.embeds=true, or "
            "use --by picture"
        )
    # Half floats are of unit length to three digits only.
    rows_ND = embeds.astype(np.float32)
    unit_ND = rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return samples[0].times, unit_ND[:, None]


def _by_scorer(samples: Sequence[Sample], scorer: FrameEmbedder) -> tuple[Times, npt.NDArray[np.float32]]:
    frames = stored_frames(samples)
    pictures = np.stack([decode_jpeg(jpeg) for jpeg in frames.values()])
    return samples[0].times[list(frames)], scorer.embed_frames(pictures)[:, None]
