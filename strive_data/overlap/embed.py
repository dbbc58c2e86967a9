"""The frames of a build's videos as unit vectors: the descriptor, stored embeddings, or those of a scorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from strive_data.config import ScoreSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.jpeg import decode_jpeg
from strive_data.overlap.descriptor import describe
from strive_data.query import scan
from strive_data.schema import Floats, Sample, Times
from strive_data.score import FrameEmbedder, make_scorer
from strive_data.shards import ShardSet

PICTURE, STORED = "picture", "stored"


@dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
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


def read_footage(folder: Path, embed: Embed) -> Iterator[Footage]:
    """The videos of a finished build, one at a time, in the order of their first sample.

    Raises UsageError for a folder that is none or holds no sample.
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
        yield Footage(
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
    return samples[0].times, _unit(embeds.astype(np.float32))[:, None]


def _by_scorer(samples: Sequence[Sample], scorer: FrameEmbedder) -> tuple[Times, npt.NDArray[np.float32]]:
    frames = stored_frames(samples)
    pictures = np.stack([decode_jpeg(jpeg) for jpeg in frames.values()])
    return samples[0].times[list(frames)], scorer.embed_frames(pictures)[:, None]


def _unit(rows_ND: Floats) -> Floats:
    """Half floats are of unit length to three digits only."""
    unit: Floats = rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return unit
