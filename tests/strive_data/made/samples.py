"""Small samples made by hand, for the tests of everything behind the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strive_data.config import BuildSettings, SamplerSettings, ScoreSettings, ShardSettings
from strive_data.engines.local import make_sample
from strive_data.errors import FailureKind
from strive_data.schema import Candidates, FailedRow, Question, Sample, VideoInfo
from strive_data.score import FrameScores
from strive_data.shards.format import encode_frames


def a_question(sample_id: str = "1", **changes: object) -> Question:
    fields: dict[str, object] = {
        "sample_id": sample_id,
        "video": "videos/a.mp4",
        "question": "Which sign is on the roof?",
        "options": ("A. BUS", "B. TAXI"),
        "answer": "B",
        "problem_type": "multiple choice",
        "source": "tests",
        "evidence_spans": ((2.5, 3.5),),
    }
    return Question(**(fields | changes))  # type: ignore[arg-type]


def a_failure(sample_id: str = "9", kind: FailureKind = FailureKind.CRASH, **changes: object) -> FailedRow:
    """Of row 4 and video v.mp4, which died in decoding."""
    fields: dict[str, object] = {"row": 4, "video": "v.mp4", "stage": "decode", "message": "died"}
    return FailedRow(sample_id=sample_id, kind=kind, **(fields | changes))  # type: ignore[arg-type]


def some_candidates(count: int = 10, height: int = 28, width: int = 56) -> Candidates:
    """Frames of one grey each, 10·i bright, one a second."""
    brightness = np.arange(count, dtype=np.uint8) * 10
    info = VideoInfo(
        video_id="v1",
        duration_seconds=float(count),
        width=width,
        height=height,
        reader="pyav",
        reader_version="1",
    )
    frames = np.ones((count, height, width, 3), dtype=np.uint8) * brightness[:, None, None, None]
    return Candidates(info=info, frames=frames, times=np.arange(count) + 0.5)


def build_settings(**shard: object) -> BuildSettings:
    """Two variants of four frames; the arguments are those of ShardSettings."""
    return BuildSettings(
        sampler=SamplerSettings(frames=4, variants=2),
        shard=ShardSettings(**shard),  # type: ignore[arg-type]
    )


def a_sample(sample_id: str = "1", count: int = 10, **shard: object) -> Sample:
    scores = np.linspace(-1, 1, count, dtype=np.float32) ** 3
    scored = FrameScores(scores=scores, windows=1, scorer="by hand")
    return make_sample(
        a_question(sample_id), encode_frames(some_candidates(count), 90), scored, build_settings(**shard)
    )


class WaveScorer:
    """Scores without a model: a wave over the frames, by the brightness of each and the question's length."""

    name = "wave"

    def __init__(self, settings: ScoreSettings) -> None:
        pass

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores]:
        level = candidates.frames.mean(axis=(1, 2, 3)) + np.arange(len(candidates.times))
        return [
            FrameScores(
                scores=np.sin(level * len(question.question)).astype(np.float32), windows=1, scorer="wave"
            )
            for question in questions
        ]
