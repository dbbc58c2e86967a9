"""CPU seconds to decode candidate frames, by reader: the planned PyAV reader against decord.

    python -m tools.bench.decode --videos ../shared/data/videos

Measured are the videos of `--videos`, where given, and four that are rendered once into `--out`: 360p and
1080p, short and long, a key frame every ten seconds. decord is used in two ways, both by `get_batch`: with
its own scaling to the storage size while it decodes ("scaled"), and as most scripts do, at full size
("full"); the ratio is to the faster one. All with one thread; the least CPU seconds of `--repeats` runs,
taken in turn, fewer where they take long. A way that is far behind decides nothing and is run once. Some four
minutes with rendering.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np
import typer
from decord._ffi.base import DECORDError
from rich.console import Console
from rich.table import Table

from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import cell_midpoints, shown_frames, storage_size
from strive_data.decode.pyav_reader import read_video
from strive_data.errors import SampleError

KEY_FRAME_SECONDS = 10
COUNTS = (64, 256)
TARGET_ANY, TARGET_LONG = 1.10, 0.5
ENOUGH_SECONDS = 2.0
"""CPU seconds of a row after which no further turn starts, once there were `FEWEST_TURNS`."""

FEWEST_TURNS = 3
FAR_BEHIND = 1.5
"""A way to use decord that takes as much longer than the other is not run again."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A video to render: `seconds` of pictures, `copies` times one after the other."""

    name: str
    size: tuple[int, int]
    seconds: int
    copies: int
    fps: int = 25

    @property
    def is_long(self) -> bool:
        """Whether the goal for long videos holds for it."""
        return self.seconds * self.copies >= 300


RENDERED = (
    Rendered(name="360p-20s.mp4", size=(640, 360), seconds=20, copies=1),
    Rendered(name="1080p-20s.mp4", size=(1920, 1080), seconds=10, copies=2),
    Rendered(name="360p-400s.mp4", size=(640, 360), seconds=20, copies=20),
    Rendered(name="1080p-300s.mp4", size=(1920, 1080), seconds=10, copies=30, fps=10),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """CPU seconds of one video: the planned reader, decord with its own scaling, decord at full size."""

    video: str
    count: int
    pyav: float
    scaled: float
    full: float
    is_long: bool

    @property
    def ratio(self) -> float:
        """The planned reader over the faster way to use decord."""
        return self.pyav / min(self.scaled, self.full)

    @property
    def target(self) -> float:
        """Largest ratio that meets the goal."""
        return TARGET_LONG if self.is_long else TARGET_ANY


def main(videos: Path | None = None, out: Path = Path("out/bench-decode"), repeats: int = 5) -> None:
    """Measure the videos of a folder and those rendered in OUT; the code is 1 where a goal is missed."""
    rows = list(measure(list(measured_videos(videos, out)), repeats))
    print_table(rows)
    missed = [row for row in rows if row.ratio > row.target]
    print(f"{len(rows) - len(missed)} of {len(rows)} goals met")
    raise typer.Exit(int(bool(missed)))


def measured_videos(folder: Path | None, out: Path) -> Iterator[tuple[Path, bool]]:
    """Each video, and whether it counts as long."""
    for path in sorted(folder.iterdir()) if folder else ():
        yield path, False
    for rendered in RENDERED:
        yield render(rendered, out), rendered.is_long


def measure(paths: list[tuple[Path, bool]], repeats: int) -> Iterator[Row]:
    """Rows of the videos that both readers read."""
    for path, is_long in paths:
        for count in COUNTS:
            settings = DecodeSettings(candidates=count)
            ways: dict[str, Callable[[], Any]] = {
                "pyav": partial(read_video, path, settings),
                "scaled": partial(read_by_decord, path, settings, scaled=True),
                "full": partial(read_by_decord, path, settings, scaled=False),
            }
            try:
                least = _least_seconds(ways, repeats)
            except (SampleError, DECORDError) as error:
                print(f"{path.name}: left out, {str(error).splitlines()[0]}", file=sys.stderr)
                break
            row = Row(video=path.name, count=count, is_long=is_long, **least)
            print(f"{row.video} {row.count}: {row.ratio:.2f} of decord", file=sys.stderr, flush=True)
            yield row


def read_by_decord(path: Path, settings: DecodeSettings, *, scaled: bool) -> Any:
    """Candidates as a script takes them: no check, no hash, frames by number."""
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        width, height = storage_size(codec.width, codec.height, settings.max_pixels, settings.multiple)
    size = {"width": width, "height": height} if scaled else {}
    video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, **size)
    times = np.arange(len(video)) / video.get_avg_fps()
    chosen = shown_frames(times, cell_midpoints(len(video) / video.get_avg_fps(), settings.candidates))
    return video.get_batch(chosen.tolist()).asnumpy()


def _least_seconds(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """CPU seconds of all threads by way; the ways take turns, so that a slow moment meets them all."""
    least = dict.fromkeys(ways, float("inf"))
    started = time.process_time()
    for turn in range(repeats):
        if turn >= FEWEST_TURNS and time.process_time() - started > ENOUGH_SECONDS:
            break
        for name, way in ways.items():
            if turn and name != "pyav" and least[name] > FAR_BEHIND * min(least["scaled"], least["full"]):
                continue
            started = time.process_time()
            way()
            least[name] = min(least[name], time.process_time() - started)
    return least


def render(video: Rendered, out: Path) -> Path:
    """The video's file, kept where it is there already."""
    path = out / video.name
    if path.exists():
        return path
    out.mkdir(parents=True, exist_ok=True)
    once, temporary = out / f"once-{video.name}", out / f"partial-{video.name}"
    _encode(video, once)
    _repeat(once, temporary, video)
    once.unlink()
    return temporary.rename(path)


def _encode(video: Rendered, path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=video.fps)
        stream.width, stream.height = video.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "g": str(KEY_FRAME_SECONDS * video.fps), "crf": "24"}
        for picture in _moving_pictures(video.size, video.seconds * video.fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _moving_pictures(size: tuple[int, int], count: int) -> Iterator[np.ndarray]:
    """A texture that drifts under a smaller one that drifts the other way, with the noise of a camera."""
    width, height = size
    rng = np.random.default_rng(0)
    far, near = (_texture(rng, width + count, height) for _ in range(2))
    noise = rng.integers(0, 8, size=(2 * height, 2 * width, 1), dtype=np.uint8)
    rows, columns = slice(height // 4, height * 3 // 4), slice(width // 3, width * 2 // 3)
    for number in range(count):
        picture = far[:, number : number + width].copy()
        picture[rows, columns] = near[rows, count - number : count - number + width][:, columns]
        top, left = rng.integers(height), rng.integers(width)
        yield np.minimum(picture, 247) + noise[top : top + height, left : left + width]


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    cells = rng.integers(0, 255, size=(height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(cells, format="rgb24")
    return np.ascontiguousarray(frame.reformat(width=width, height=height).to_ndarray(format="rgb24"))


def _repeat(source: Path, target: Path, video: Rendered) -> None:
    """The packets of a file several times after one another."""
    with av.open(str(target), "w") as container, av.open(str(source)) as first:
        out = container.add_stream_from_template(first.streams.video[0])
        ticks = round(
            first.streams.video[0].frames * Fraction(1, video.fps) / first.streams.video[0].time_base
        )
        for copy in range(video.copies):
            with av.open(str(source)) as again:
                for packet in again.demux(video=0):
                    if packet.size:
                        packet.pts += copy * ticks
                        packet.dts += copy * ticks
                        packet.stream = out
                        container.mux(packet)


def print_table(rows: list[Row]) -> None:
    """CPU seconds and ratios, a row a video and count."""
    table = Table(
        "video", "frames", "pyav s", "decord scaled s", "decord full s", "pyav/decord", "goal", box=None
    )
    for row in rows:
        verdict = f"≤ {row.target:g} {'met' if row.ratio <= row.target else 'MISSED'}"
        seconds = (f"{value:.3f}" for value in (row.pyav, row.scaled, row.full))
        table.add_row(row.video, str(row.count), *seconds, f"{row.ratio:.2f}", verdict)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
