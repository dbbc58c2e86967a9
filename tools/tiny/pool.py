"""Candidate frames of planned videos at the demonstration's storage size, without the detour over files.

Noise stands in for H.264 and for resampling: half of the frames go through JPEG (4:2:0) at a random quality,
and the resampling filter changes from video to video.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from strive_data.demo.draw import draw_frame
from strive_data.demo.levels import CANDIDATES, LEVELS, Level
from strive_data.demo.world import Asked, VideoPlan
from strive_data.schema import Candidates, Question, VideoInfo

SIDE_PIXELS = 28
FILTERS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolVideo:
    """A planned video: frames uint8 [N, SIDE_PIXELS, SIDE_PIXELS, 3], times float64 [N]."""

    plan: VideoPlan
    frames: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float64]

    @property
    def candidates(self) -> Candidates:
        """As the decoder would give it."""
        info = VideoInfo(
            video_id="",
            duration_seconds=float(self.times[-1]),
            width=SIDE_PIXELS,
            height=SIDE_PIXELS,
            reader="",
            reader_version="",
        )
        return Candidates(info=info, frames=self.frames, times=self.times)


def make_pool(*, videos: int, seed: int, questions: int = 4, level: Level = "easy") -> list[PoolVideo]:
    """`videos` videos of the world of `seed`, each at the midpoints of equal cells."""
    return [
        _video(
            LEVELS[level](seed=seed, index=index, questions=questions), CANDIDATES[level], [seed, index, 1]
        )
        for index in range(videos)
    ]


def as_question(asked: Asked, sample_id: str) -> Question:
    """The question as the annotation reader would give it."""
    return Question(
        sample_id=sample_id,
        video="none.mp4",
        question=asked.text,
        answer=asked.letter,
        problem_type="multiple choice",
        options=asked.options,
        evidence_spans=asked.spans,
    )


def needle_labels(video: PoolVideo, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """1 where a needle on the candidate has the colour or shape, float32 [N, len(names)]."""
    labels = np.zeros((len(video.times), len(names)), dtype=np.float32)
    for needle in (needle for asked in video.plan.asked for needle in asked.needles):
        seen = (video.times >= needle.start) & (video.times < needle.stop)
        for name in (needle.shape, needle.colour):
            labels[seen, names.index(name)] = 1
    return labels


def _video(plan: VideoPlan, candidates: int, seed: list[int]) -> PoolVideo:
    rng = np.random.default_rng(seed)
    shown = ((np.arange(candidates) + 0.5) / candidates * plan.frames).astype(int)
    times = np.array(plan.frame_times)[shown]
    resample = FILTERS[int(rng.integers(len(FILTERS)))]
    frames = [shrink(draw_frame(plan, float(time)), resample, rng) for time in times]
    return PoolVideo(plan=plan, frames=np.stack(frames), times=times)


def shrink(
    frame: npt.NDArray[np.uint8], resample: Image.Resampling, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    picture = _jpeg(Image.fromarray(frame), int(rng.integers(60, 95)))
    small = picture.resize((SIDE_PIXELS, SIDE_PIXELS), resample)
    return np.asarray(_jpeg(small, 90) if rng.random() < 0.5 else small)


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
