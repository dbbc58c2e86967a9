"""Frames of planned videos at the demonstration's storage size, without the detour over files; pairs of them.

Noise stands in for H.264 and for resampling: half of the frames go through JPEG (4:2:0) at a random quality,
and the resampling filter changes from video to video. The vision tower learns from frame pairs with the
needles that they show. A tower of 14-pixel patches learns a few hundred videos by heart: it distinguished .61
of held-out pairs, and .99 of those it was trained on. So there are many pairs, and each is shifted, mirrored
and tinted each time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from strive_data.demo.draw import draw_frame
from strive_data.demo.world import CANDIDATES, COLOURS, LEVELS, SHAPES, Asked, Level, VideoPlan, plan_video
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


LOOKS = len(COLOURS) * len(SHAPES)
PAIRS_OF_A_VIDEO = 10
NEEDLE_SHARE = 0.75
MEAN_GAP_SECONDS = 1.5
LARGEST_SHIFT_PIXELS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """frames uint8 [P, 2, H, W, 3]; looks float32 [P, LOOKS], 1 for each (colour, shape) needle in sight."""

    frames: npt.NDArray[np.uint8]
    looks: npt.NDArray[np.float32]


def make_pairs(*, count: int, seed: int) -> Pairs:
    """Pairs of moments of the videos of `seed`, most of them near a needle."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, 2, SIDE_PIXELS, SIDE_PIXELS, 3), dtype=np.uint8)
    looks = np.empty((count, LOOKS), dtype=np.float32)
    for place in range(count):
        if place % PAIRS_OF_A_VIDEO == 0:
            plan = plan_video(seed=seed, index=place // PAIRS_OF_A_VIDEO, questions=4)
            resample = FILTERS[int(rng.integers(len(FILTERS)))]
        times = _two_times(plan, rng)
        frames[place] = [shrink(draw_frame(plan, time), resample, rng) for time in times]
        looks[place] = np.maximum(looks_at(plan, times[0]), looks_at(plan, times[1]))
    return Pairs(frames=frames, looks=looks)


def looks_at(plan: VideoPlan, time_seconds: float) -> npt.NDArray[np.float32]:
    """1 for each needle in sight at that time, float32 [LOOKS]."""
    looks = np.zeros(LOOKS, dtype=np.float32)
    for needle in (needle for asked in plan.asked for needle in asked.needles):
        if needle.start <= time_seconds < needle.stop:
            looks[COLOURS.index(needle.colour) * len(SHAPES) + SHAPES.index(needle.shape)] = 1
    return looks


def augment(frames: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Other places, mirror images and tints of pairs [P, 2, H, W, 3]; what they show stays true."""
    changed = frames.copy()
    for place in range(len(changed)):
        shift = rng.integers(-LARGEST_SHIFT_PIXELS, LARGEST_SHIFT_PIXELS + 1, 2)
        changed[place] = np.roll(changed[place], shift, (1, 2))
        if rng.random() < 0.5:
            changed[place] = changed[place, :, :, ::-1]
    gain = rng.normal(1, 0.06, (len(frames), 1, 1, 1, 3))
    offset = rng.normal(0, 6, (len(frames), 1, 1, 1, 3))
    noise = rng.normal(0, 3, frames.shape)
    return np.clip(changed * gain + offset + noise, 0, 255).astype(np.uint8)


def patches(frames: npt.NDArray[np.uint8], video_processor: Any) -> torch.Tensor:
    """Patches float32 [4·P, values] of pairs [P, 2, 28, 28, 3], as the video processor makes them."""
    mean = torch.tensor(video_processor.image_mean).view(1, 1, 3, 1, 1)
    std = torch.tensor(video_processor.image_std).view(1, 1, 3, 1, 1)
    values = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 1, 4, 2, 3).float() / 255
    split = ((values - mean) / std).view(len(frames), 2, 3, 2, 14, 2, 14)
    return split.permute(0, 3, 5, 2, 1, 4, 6).reshape(len(frames) * 4, -1)


def _two_times(plan: VideoPlan, rng: np.random.Generator) -> tuple[float, float]:
    """Two moments in order: the first mostly inside a needle's stretch, the second not far from it."""
    if rng.random() < NEEDLE_SHARE:
        first = rng.uniform(*plan.asked[int(rng.integers(len(plan.asked)))].spans[0])
    else:
        first = rng.uniform(0, plan.duration_seconds)
    gap = float(rng.choice([-1, 1])) * rng.exponential(MEAN_GAP_SECONDS)
    second = float(np.clip(first + gap, 0, plan.duration_seconds - 0.01))
    shown = np.array(plan.frame_times)
    early, late = (float(shown[np.searchsorted(shown, t, side="right") - 1]) for t in sorted((first, second)))
    return early, late
