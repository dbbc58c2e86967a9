"""What is built in a measurement: real clips, repeated, or a long rendered video, and questions on them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np

ANNOTATION = "questions.jsonl"
LONG_VIDEO_FPS = 25
LONG_VIDEO_SIZE = (640, 360)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Videos and an annotation in the Video-R1 layout below `root`."""

    root: Path
    videos: int
    questions: int

    @property
    def annotation(self) -> Path:
        """Its questions."""
        return self.root / ANNOTATION


def repeat_clips(source: Path, root: Path, *, copies: int, questions_per_video: int = 0) -> Workload:
    """The videos that `source`/questions.jsonl asks about, each `copies` times as files of their own.

    `questions_per_video` questions on each, its own ones over again where it has fewer; 0: as many as it has.
    Builds of it use no cache, so that a copy costs what another video would.
    """
    rows = [json.loads(line) for line in (source / ANNOTATION).read_text(encoding="utf-8").splitlines()]
    by_video: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_video.setdefault(row["path"], []).append(row)
    root.mkdir(parents=True)
    asked: list[dict[str, Any]] = []
    for copy in range(copies):
        for path, own in by_video.items():
            name = f"{copy:04d}-{Path(path).name}"
            shutil.copyfile(source / path, root / name)
            asked += _asked(own, name, questions_per_video)
    return _write(root, asked)


def ask_about(video: Path, root: Path, *, copies: int, questions: int) -> Workload:
    """`copies` of one video with `questions` on each."""
    root.mkdir(parents=True)
    asked: list[dict[str, Any]] = []
    for copy in range(copies):
        name = f"{copy:04d}-{video.name}"
        shutil.copyfile(video, root / name)
        own = [_row(f"What happens in part {number}?") for number in range(questions)]
        asked += _asked(own, name, 0)
    return _write(root, asked)


def render_long_video(path: Path, *, minutes: float) -> Path:
    """An H.264 file as cameras and sites make them: 640×360, a key frame every ten seconds, B-frames.

    Kept where it is there already.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"partial-{path.name}")
    width, height = LONG_VIDEO_SIZE
    with av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=LONG_VIDEO_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "g": str(10 * LONG_VIDEO_FPS), "crf": "26"}
        for frame in _moving_pictures(round(minutes * 60 * LONG_VIDEO_FPS)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return temporary.rename(path)


def _moving_pictures(count: int) -> Iterator[np.ndarray]:
    """Textured blocks that drift, and a cut every eight seconds."""
    width, height = LONG_VIDEO_SIZE
    rng = np.random.default_rng(0)
    for number in range(count):
        if number % (8 * LONG_VIDEO_FPS) == 0:
            coarse = rng.integers(0, 255, size=(height // 20, width // 10, 3), dtype=np.uint8)
            scene = np.repeat(np.repeat(coarse, 20, axis=0), 20, axis=1)
        start = number % (scene.shape[1] - width)
        yield np.ascontiguousarray(scene[:, start : start + width])


def _row(problem: str) -> dict[str, Any]:
    options = ["A. A red car stops", "B. A person opens a door", "C. It rains", "D. None of these"]
    return {"problem": problem, "problem_type": "multiple choice", "options": options, "solution": "A"}


def _asked(own: Sequence[dict[str, Any]], name: str, wanted: int) -> list[dict[str, Any]]:
    return [row | {"path": name, "data_type": "video"} for row in islice(cycle(own), wanted or len(own))]


def _write(root: Path, asked: Sequence[dict[str, Any]]) -> Workload:
    lines = [json.dumps(row | {"problem_id": number}) for number, row in enumerate(asked)]
    (root / ANNOTATION).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Workload(root=root, videos=len({row["path"] for row in asked}), questions=len(asked))
