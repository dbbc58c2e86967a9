"""Frames of several videos through the image model together: its batches have one size, short videos do not.

A frame's embedding has the same bits wherever it stands in a batch, so only the cost changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from strive_data.cache import MissedVideo
from strive_data.errors import SampleError
from strive_data.schema import Candidates, Floats, Frames
from strive_data.score import EmbeddingScorer, Scorer
from strive_data.scoring import Video

BATCHES = 4  # so that the padding of the last one is at most a fifth of the work
MOST_VIDEOS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """A decoded video; its unit embeddings float32 [N, D], or None where scoring has to see to them.

    `model_seconds` is its share, by frames, of the time that the image model took.
    """

    name: str
    video: Video | SampleError
    embeddings: Floats | None = None
    model_seconds: float = 0.0


def embed_together(
    videos: Iterable[tuple[str, Video | SampleError]], scorer: Scorer, *, batch_size: int
) -> Iterator[Waiting]:
    """The videos in their order, with embeddings where the scorer needs nothing else of a video.

    Holds videos back until they fill some batches, 32 of them at most; no video waits where there is nothing
    to embed before it.
    """
    held: list[Waiting] = []
    for name, video in videos:
        held.append(Waiting(name=name, video=video))
        frames = sum(len(fresh) for fresh in map(_fresh_frames, held) if fresh is not None)
        idle = not frames or not isinstance(scorer, EmbeddingScorer)
        if idle or frames >= BATCHES * batch_size or len(held) >= MOST_VIDEOS:
            yield from _embedded(held, scorer)
            held = []
    yield from _embedded(held, scorer)


def _embedded(held: Sequence[Waiting], scorer: Scorer) -> Iterator[Waiting]:
    """The held videos, those of one frame size embedded by one call."""
    made: dict[str, Floats] = {}
    started = time.perf_counter()
    if isinstance(scorer, EmbeddingScorer):
        fresh = {each.name: frames for each in held if (frames := _fresh_frames(each)) is not None}
        for size in dict.fromkeys(frames.shape[1:] for frames in fresh.values()):
            made |= _embed(
                {name: frames for name, frames in fresh.items() if frames.shape[1:] == size}, scorer
            )
    spent = time.perf_counter() - started
    frames_made = max(1, sum(map(len, made.values())))
    for each in held:
        rows = made.get(each.name)
        share = 0.0 if rows is None else spent * len(rows) / frames_made
        yield Waiting(name=each.name, video=each.video, embeddings=rows, model_seconds=share)


def _embed(frames: dict[str, Frames], scorer: EmbeddingScorer) -> dict[str, Floats]:
    """Embeddings of videos of one frame size; none where one of them cannot be embedded."""
    try:
        rows = scorer.embed_frames(np.concatenate(list(frames.values())))
    except SampleError:
        # Scoring embeds them one by one then, and the one at fault fails alone.
        return {}
    ends = np.cumsum([len(each) for each in frames.values()])[:-1]
    return dict(zip(frames, np.split(rows, ends), strict=True))


def _fresh_frames(waiting: Waiting) -> Frames | None:
    """Frames that still have to be embedded."""
    video = waiting.video
    if isinstance(video, MissedVideo):
        return video.candidates.frames
    return video.frames if isinstance(video, Candidates) else None
