"""Samples a second of the trainer's loader, beside reading its shards raw and beside decoding the videos.

    python -m tools.bench.loader ../shared/data --out /tmp/loader-bench

The ways take turns, round after round, one thread each; a figure is the median of the rounds' ratios in CPU
seconds, which other work on the machine moves less than the wall clock, printed beside it. Each way gives the
pixels of one epoch:

- loader: the M variants of each sample, checked, parsed, drawn and stacked (`strive_rl.data.Loader`);
- raw: the shards' bytes read in their order, and those JPEGs decoded that the loader decodes, at places known
  before: the floor of anything that reads these shards;
- webdataset: the same JPEGs by `webdataset.WebDataset`, its own way through a tar;
- decode: each variant's K frames from the video itself by decord, resized to the stored size: what
  qwen-vl-utils does at each step, where each view of a group is a video of its prompt;
- decode once: the frames of all M variants in one pass over the video, the least that can be decoded.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import decord
import numpy as np
import simplejpeg
import torch
import typer
import webdataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from strive_data.shards.reader import ShardSet
from strive_data.shards.run_file import RUN_FILE
from strive_rl.config import DataSettings
from strive_rl.data import Builds, Cursor, Loader
from tools.bench.build.stages import ANNOTATION, ask_about, render_long_video, repeat_clips
from tools.bench.measure import ratio_line

BICUBIC = InterpolationMode.BICUBIC
CANDIDATES = 128
STRIVE_DATA = Path(sys.executable).with_name("strive-data")

# Reads an epoch; gives the number of samples.
Way = Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """CPU and wall-clock seconds a sample."""

    cpu: float
    wall: float


def main(
    videos: Path,
    out: Annotated[Path, typer.Option()],
    frames: int = 32,
    copies: int = 1,
    minutes: float = 2.0,
    rounds: int = 5,
) -> None:
    """Build two workloads in OUT where they are not built yet, then measure.

    They are COPIES of the clips of a folder with a questions.jsonl, and a rendered video of so many MINUTES.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    clips, long = out / "clips", out / "long"
    if not clips.exists():
        repeat_clips(videos, clips, copies=copies)
    if not long.exists():
        ask_about(render_long_video(out / "long.mp4", minutes=minutes), long, copies=1, questions=6)
    for root, what in ((clips, "real clips"), (long, f"a rendered video of {minutes:g} minutes")):
        build = _build(root, frames)
        print(f"\n{what}: {len(build)} samples, M=2, K={frames}")
        for line in report(measure(ways(build, root), rounds)):
            print(line)


def ways(build: ShardSet, root: Path) -> Mapping[str, Way]:
    """Each way to get an epoch's pixels, by its name."""
    return {
        "loader": lambda: read_by_loader(build),
        "raw": raw_way(build),
        "webdataset": webdataset_way(build),
        "decode": decode_way(build, root, once=False),
        "decode once": decode_way(build, root, once=True),
    }


def measure(ways: Mapping[str, Way], rounds: int) -> dict[str, list[Seconds]]:
    """Seconds a sample of each way, round by round, after one round that is not counted."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = way()
            each = Seconds(cpu=(time.process_time() - cpu) / count, wall=(time.perf_counter() - wall) / count)
            if number:
                seconds[name].append(each)
    return seconds


def report(seconds: Mapping[str, list[Seconds]]) -> list[str]:
    """A line for each way, and for each target."""
    lines = [
        f"{name:<12} {1 / statistics.median(s.cpu for s in each):8.1f} samples a CPU second "
        f"{1 / statistics.median(s.wall for s in each):8.1f} a second"
        for name, each in seconds.items()
    ]
    for other, target in (("raw", 0.7), ("webdataset", 0.7), ("decode", 20.0)):
        lines.append(ratio_line(f"loader / {other}", ratio(seconds, other), target=target, at_most=False))
    return [*lines, f"{'loader / decode once':<58} {ratio(seconds, 'decode once'):6.2f}"]


def ratio(seconds: Mapping[str, list[Seconds]], other: str) -> float:
    """How many times as fast as another way the loader is: the median over the rounds, in CPU seconds."""
    pairs = zip(seconds[other], seconds["loader"], strict=True)
    return statistics.median(theirs.cpu / ours.cpu for theirs, ours in pairs)


def read_by_loader(build: ShardSet, batch: int = 4) -> int:
    """One epoch of groups."""
    settings = DataSettings(questions_per_step=batch, draw="stored", threads=1, prefetch=0)
    cursor, count = Cursor(), 0
    with closing(Loader(Builds(build), settings, seed=0)) as loader:
        while count < len(build):
            groups, _, cursor = loader.take(cursor, size=min(batch, len(build) - count))
            count += len(groups)
    return count


def raw_way(build: ShardSet) -> Way:
    """Reads whole shards and decodes the frames that the loader decodes, at places looked up beforehand."""
    shown = shown_frames(build)
    places: dict[Path, list[tuple[int, int]]] = {}
    for shard in _shards(build):
        with tarfile.open(shard) as tar:
            places[shard] = [(each.offset_data, each.size) for each in tar if each.name in shown]

    def read() -> int:
        for shard, jpegs in places.items():
            content = memoryview(shard.read_bytes())
            for offset, size in jpegs:
                simplejpeg.decode_jpeg(content[offset : offset + size], colorspace="RGB")
        return len(build)

    return read


def webdataset_way(build: ShardSet) -> Way:
    """Reads by webdataset and decodes the frames that the loader decodes."""
    shown, urls = shown_frames(build), [str(path) for path in _shards(build)]

    def read() -> int:
        for sample in webdataset.WebDataset(urls, shardshuffle=False):
            for name, content in sample.items():
                if f"{sample['__key__']}.{name}" in shown:
                    simplejpeg.decode_jpeg(content, colorspace="RGB")
        return len(build)

    return read


def decode_way(build: ShardSet, root: Path, *, once: bool) -> Way:
    """Decodes the frames of each sample's variants from its video, in the size that the shards hold."""
    asked: list[tuple[str, list[int], np.ndarray]] = []
    for sample in map(build.read, range(len(build))):
        video, size = root / sample.meta.question.video, simplejpeg.decode_jpeg_header(sample.jpegs[0])[:2]
        views = [np.unique(sample.variants)] if once else sample.variants
        asked += [(str(video), list(size), sample.times[indices]) for indices in views]

    def read() -> int:
        for video, size, seconds in asked:
            reader = decord.VideoReader(video, num_threads=1)
            at = np.rint(seconds * reader.get_avg_fps()).astype(np.int64).clip(0, len(reader) - 1)
            pixels = torch.from_numpy(reader.get_batch(at).asnumpy()).permute(0, 3, 1, 2)
            resize(pixels, size, BICUBIC, antialias=True)
        return len(build)

    return read


def shown_frames(build: ShardSet) -> frozenset[str]:
    """Names in the tars of the frames that the stored variants take."""
    names: set[str] = set()
    for i in range(len(build)):
        sample = build.read(i)
        slots = np.flatnonzero(np.isin(sample.stored, sample.variants))
        names |= {f"{sample.key}.f{slot:04d}.jpg" for slot in slots}
    return frozenset(names)


def _shards(build: ShardSet) -> list[Path]:
    return sorted(Path(str(build.folder)).glob("shard-*.tar"))


def _build(root: Path, frames: int) -> ShardSet:
    """The build of a workload by the command line, kept for the next measurement."""
    out = root.with_name(f"{root.name}-shards-{frames}")
    if not (out / RUN_FILE).exists():
        command = f"build {root / ANNOTATION} --data-root {root} --out {out}"
        options = f"--scorer demo --candidates {CANDIDATES} --frames {frames} --variants 2"
        subprocess.run([STRIVE_DATA, *command.split(), *options.split()], check=True)
    return ShardSet.open(out)


if __name__ == "__main__":
    typer.run(main)
