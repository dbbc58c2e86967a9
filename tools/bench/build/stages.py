"""Each stage of a build on its own, with all cores: bare decode, image-model forward and JPEG encoding.

python -m tools.bench.build.stages decode FOLDER --candidates 128     prints one JSON line; also: model, jpeg
Workers are warmed up first, so a stage's figure has no start-up in it: a bound that no build can beat. And
the work: real clips, repeated, or a long rendered video, and questions on them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import av
import numpy as np
import typer

from strive_data.config import DecodeSettings, ScoreSettings
from strive_data.decode import read_candidates
from strive_data.score.registry import DEMO_MODEL
from strive_data.shards.format import encode_jpeg

T = TypeVar("T")

QUALITY = 90
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Seconds of one stage for so many frames; `how` it was run best."""

    stage: str
    frames: int
    wall_seconds: float
    cpu_seconds: float
    how: str = ""

    def for_frames(self, frames: int) -> StageCost:
        """The same stage for another number of frames, by its rate."""
        wall, cpu = (seconds * frames / self.frames for seconds in (self.wall_seconds, self.cpu_seconds))
        return replace(self, frames=frames, wall_seconds=wall, cpu_seconds=cpu)


def choose_model(name: str, pretrained: str, precision: str, folder: Path) -> ScoreSettings:
    """The image model by its open_clip name, or "demo", the package's tiny one.

    `pretrained` is a tag or a file; "random" draws weights with a fixed seed, kept in `folder`: weights do
    not change the speed, so no download is needed to measure it.
    """
    if name == "demo":
        return ScoreSettings(model=f"local-dir:{DEMO_MODEL}", pretrained="", precision=precision)
    if pretrained == "random":
        path = folder / f"{name}-random.safetensors"
        if not path.exists():
            import open_clip
            import torch
            from safetensors.torch import save_model

            folder.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(0)
            temporary = path.with_name(f"partial-{path.name}")
            save_model(open_clip.create_model(name), str(temporary))
            temporary.rename(path)
        pretrained = str(path)
    return ScoreSettings(model=name, pretrained=pretrained, precision=precision)


def bare_decode(videos: Sequence[Path], settings: DecodeSettings) -> StageCost:
    """The candidates of all videos by the package's reader in one process a core, and thrown away there."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=context) as pool:
        list(pool.map(_warm_up, range(CORES * 4)))
        started = time.perf_counter()
        counts = list(pool.map(partial(_decode, settings=settings), videos))
        wall = time.perf_counter() - started
    frames, cpu = sum(count for count, _ in counts), sum(seconds for _, seconds in counts)
    how = f"{CORES} processes"
    return StageCost(stage="decode", frames=frames, wall_seconds=wall, cpu_seconds=cpu, how=how)


def bare_model(
    settings: ScoreSettings, *, batch_sizes: Sequence[int], frames: int, tried_frames: int = 256
) -> StageCost:
    """The image tower on random pixels, `frames` of them: by the fastest of the batch sizes and ways of using
    the cores, each tried on `tried_frames` first. A short run is faster than a processor goes on to be."""
    import torch
    from PIL import Image

    from strive_data.score.clip import load_clip

    clip = load_clip(settings)
    side = clip.transform(Image.new("RGB", (64, 64))).shape[-1]

    def run(size: int, workers: int, threads: int, frames: int) -> StageCost:
        pixels = torch.rand(size, 3, side, side).to(clip.device, clip.dtype)

        def forward(_: int) -> None:
            with torch.inference_mode():
                clip.model.encode_image(pixels)

        torch.set_num_threads(threads)
        batches = max(2 * workers, frames // size // workers * workers)
        wall, cpu = _in_threads(forward, range(batches), workers)
        how = f"batches of {size}, {workers} at once with {threads} threads, {settings.precision}"
        return StageCost(stage="model", frames=batches * size, wall_seconds=wall, cpu_seconds=cpu, how=how)

    ways = [(size, *cores) for size in batch_sizes for cores in sorted({(1, CORES), (CORES, 1)})]
    best = min(ways, key=lambda way: run(*way, tried_frames).for_frames(1).wall_seconds)
    return run(*best, frames)


def bare_jpeg(videos: Sequence[Path], settings: DecodeSettings) -> StageCost:
    """The candidates of some videos as JPEGs, in one thread a core."""
    frames = [frame for video in videos for frame in read_candidates(video, settings).frames]
    wall, cpu = _in_threads(lambda frame: encode_jpeg(frame, QUALITY), frames, CORES)
    how = f"{CORES} threads"
    return StageCost(stage="jpeg", frames=len(frames), wall_seconds=wall, cpu_seconds=cpu, how=how)


def _in_threads(work: Callable[[T], object], items: Iterable[T], threads: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of `work` on all items, after it was done once in each thread."""
    items = list(items)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items[:threads]))
        started, cpu = time.perf_counter(), time.process_time()
        list(pool.map(work, items))
        return time.perf_counter() - started, time.process_time() - cpu


def _warm_up(_: int) -> None:
    time.sleep(0.05)


def _decode(video: Path, settings: DecodeSettings) -> tuple[int, float]:
    started = time.process_time()
    count = len(read_candidates(video, settings).frames)
    return count, time.process_time() - started


def main(
    stage: Literal["decode", "model", "jpeg"],
    folder: Path,
    candidates: int = 128,
    model: str = "",
    pretrained: str = "",
    precision: str = "fp32",
    batch_size: list[int] | None = None,
    frames: int = 256,
) -> None:
    """Print the cost of a stage on the videos of a folder as JSON; `frames` are those of the forward."""
    videos = sorted(path for path in folder.iterdir() if path.suffix != ".jsonl")
    decode = DecodeSettings(candidates=candidates)
    if stage == "decode":
        cost = bare_decode(videos, decode)
    elif stage == "jpeg":
        cost = bare_jpeg(videos[:12], decode)
    else:
        settings = ScoreSettings(model=model, pretrained=pretrained, precision=precision)
        cost = bare_model(settings, batch_sizes=batch_size or (16, 64), frames=frames)
    print(json.dumps(asdict(cost)))


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


if __name__ == "__main__":
    typer.run(main)
