"""A planned video as pixels, pixels as an H.264 file, a world as a folder of videos with its annotation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from strive_data.demo.world import FRAMES_PER_SECOND, LEVELS, Kind, Level, VideoPlan
from strive_data.errors import UsageError
from strive_data.schema import Frames

SIDE_PIXELS = 112
OVERSAMPLING = 4
EDGE_SHARE = 0.05
MARGIN_PIXELS = 4
RGB = {
    "red": (222, 38, 38),
    "orange": (250, 140, 10),
    "yellow": (250, 228, 50),
    "green": (40, 168, 66),
    "blue": (45, 95, 235),
    "purple": (172, 62, 205),
}
MARK = (255, 255, 255)
EDGE = (20, 20, 20)

Point = tuple[float, float]


def draw_frame(plan: VideoPlan, time_seconds: float) -> npt.NDArray[np.uint8]:
    """The picture at `time_seconds`, uint8 RGB [SIDE_PIXELS, SIDE_PIXELS, 3]."""
    picture = Image.fromarray(_background(plan, time_seconds))
    right, down = camera_shift(plan, time_seconds)
    for thing in plan.things:
        if thing.start <= time_seconds < thing.stop:
            angle = thing.phase + 2 * math.pi * thing.turns_per_second * time_seconds
            x = thing.centre[0] + thing.reach[0] * math.cos(angle) + right
            y = thing.centre[1] + thing.reach[1] * math.sin(angle) + down
            stamp = _stamp(thing.shape, thing.colour, round(thing.size * SIDE_PIXELS), thing.marked)
            corner = (round(x * SIDE_PIXELS - stamp.width / 2), round(y * SIDE_PIXELS - stamp.height / 2))
            picture.paste(stamp, corner, stamp)
    return np.asarray(picture)


def camera_shift(plan: VideoPlan, time_seconds: float) -> Point:
    """How far the camera's motion moves everything to the right and down, as shares of the side."""
    reach, turns_per_second, phase = plan.camera
    angle = phase + 2 * math.pi * turns_per_second * time_seconds
    return (reach * math.cos(angle), reach * math.sin(angle))


def _background(plan: VideoPlan, time_seconds: float) -> npt.NDArray[np.uint8]:
    """Soft stripes between the two background colours that drift with time."""
    axis = np.arange(SIDE_PIXELS, dtype=np.float32) / SIDE_PIXELS
    speed, angle = plan.drift
    right, low = camera_shift(plan, time_seconds)
    across, down = (axis[None, :] - right) * math.cos(angle), (axis[:, None] - low) * math.sin(angle)
    share = (0.5 + 0.5 * np.sin(2 * math.pi * (across + down + speed * time_seconds)))[:, :, None]
    first, second = np.array(plan.background, dtype=np.float32)
    mixed: npt.NDArray[np.float32] = share * first + (1 - share) * second
    return mixed.astype(np.uint8)


@lru_cache(maxsize=4096)
def _stamp(shape: str, colour: str, size_pixels: int, marked: bool) -> Image.Image:
    """The shape with a dark edge, or with the white one that marks a needle; RGBA with soft borders."""
    whole, inner = _masks(shape, size_pixels)
    stamp = Image.new("RGB", whole.size, MARK if marked else EDGE)
    stamp.paste(RGB[colour], mask=inner)
    stamp.putalpha(whole)
    return stamp


@lru_cache(maxsize=1024)
def _masks(shape: str, size_pixels: int) -> tuple[Image.Image, Image.Image]:
    """Soft masks of the shape with and without its edge."""
    big, margin = size_pixels * OVERSAMPLING, MARGIN_PIXELS * OVERSAMPLING
    whole = Image.new("L", (big, big), 0)
    pen = ImageDraw.Draw(whole)
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, big - 1, big - 1), fill=255)
        if shape == "ring":
            pen.ellipse((0.29 * big, 0.29 * big, 0.71 * big, 0.71 * big), fill=0)
    else:
        pen.polygon([(x * (big - 1), y * (big - 1)) for x, y in _OUTLINES[shape]], fill=255)
    whole = ImageOps.expand(whole, margin)
    # Where a Gaussian blur is still 98 % full, the outline is at least 2.05 standard deviations away.
    blurred = whole.filter(ImageFilter.GaussianBlur(EDGE_SHARE * big / 2.05))
    inner = blurred.point([255 if level >= 250 else 0 for level in range(256)])
    small = (size_pixels + 2 * MARGIN_PIXELS, size_pixels + 2 * MARGIN_PIXELS)
    return whole.resize(small, Image.Resampling.BOX), inner.resize(small, Image.Resampling.BOX)


def _star() -> list[Point]:
    """Five points on the unit square, the first one up."""
    turns = [math.pi * (corner / 5 - 0.5) for corner in range(10)]
    radii = [0.5 if corner % 2 == 0 else 0.2 for corner in range(10)]
    return [
        (0.5 + r * math.cos(turn), 0.52 + r * math.sin(turn)) for r, turn in zip(radii, turns, strict=True)
    ]


_ARM = (0.33, 0.67)
_OUTLINES: dict[str, list[Point]] = {
    "square": [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)],
    "triangle": [(0.5, 0.0), (1.0, 0.93), (0.0, 0.93)],
    "star": _star(),
    "cross": [
        *((_ARM[0], 0.0), (_ARM[1], 0.0), (_ARM[1], _ARM[0]), (1.0, _ARM[0])),
        *((1.0, _ARM[1]), (_ARM[1], _ARM[1]), (_ARM[1], 1.0), (_ARM[0], 1.0)),
        *((_ARM[0], _ARM[1]), (0.0, _ARM[1]), (0.0, _ARM[0]), (_ARM[0], _ARM[0])),
    ],
}

OPTIONS = {
    "crf": "18",
    "preset": "veryfast",
    "g": "24",
    "sc_threshold": "0",
    # With its macroblock tree x264 gave other bits now and then, for equal frames in one thread.
    "x264-params": "mbtree=0",
}


def write_h264(
    path: Path, frames: Iterable[Frames], *, frames_per_second: int, height: int, width: int
) -> None:
    """Write uint8 RGB frames [height, width, 3] (even sides) as an mp4; equal input gives equal bytes."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = OPTIONS
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


ANNOTATION = "questions.jsonl"


def write_world(
    folder: Path,
    *,
    videos: int,
    questions_per_video: int,
    seed: int,
    level: Level = "easy",
    kinds: Sequence[Kind] = (),
) -> Path:
    """Write videos/*.mp4 and questions.jsonl under `folder`; returns the annotation.

    `kinds` are those of the hard level's questions, default all. Equal arguments give equal files (with the
    same FFmpeg). Raises UsageError for a folder that holds something already, and for arguments out of range.
    """
    if videos < 1 or seed < 0:
        raise UsageError(f"world: got {videos} videos and seed {seed}, expected at least 1 and at least 0")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: not empty; give a new folder for the world")
    if kinds and level != "hard":
        raise UsageError(f"kinds: got {', '.join(kinds)} for the level {level}; only hard has several kinds")
    make = partial(LEVELS[level], kinds=kinds) if kinds else LEVELS[level]
    plans = [make(seed=seed, index=index, questions=questions_per_video) for index in range(videos)]
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for index, plan in enumerate(plans):
        path = f"videos/world{seed}-{index:04d}.mp4"
        pictures = (draw_frame(plan, time_seconds) for time_seconds in plan.frame_times)
        write_h264(
            folder / path,
            pictures,
            frames_per_second=FRAMES_PER_SECOND,
            height=SIDE_PIXELS,
            width=SIDE_PIXELS,
        )
        rows += annotation_rows(plan, path, first_id=len(rows))
    annotation = folder / ANNOTATION
    annotation.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return annotation


def annotation_rows(plan: VideoPlan, path: str, *, first_id: int) -> list[dict[str, Any]]:
    """The questions of one video in the Video-R1 layout, with `evidence_spans` in seconds.

    A span reaches from the first to the last frame that shows its needle, since its ends belong to it.
    """
    return [
        {
            "problem_id": first_id + place,
            "problem": asked.text,
            "data_type": "video",
            "problem_type": "multiple choice",
            "options": list(asked.options),
            "solution": f"<answer>{asked.letter}</answer>",
            "path": path,
            "data_source": "needle-world",
            "evidence_spans": [[start, stop - 1 / FRAMES_PER_SECOND] for start, stop in asked.spans],
        }
        for place, asked in enumerate(plan.asked)
    ]
