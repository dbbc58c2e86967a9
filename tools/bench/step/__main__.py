"""A whole training step beside TRL and plain transformers: CPU seconds, clock, peak memory.

    pip install -e '.[bench]'
    python -m tools.bench.step --frames 32 8 --tokens 32

One thread, float32, a random Qwen2.5-VL (384 wide, 6 layers, a tower of 4), frozen tower, 2 questions × 8
rollouts by default. A step encodes frames, samples, rewards, and updates the weights by AdamW. Every round
measures each way once, so that a busy machine slows all alike. Printed are medians and the spread (most −
least) of CPU seconds, the clock, the median over rounds of the ratio to `ours`, and the peak of resident
memory over that of the loaded model, in its own process.

Ways: `ours` (one variant, G completions), `ours-together` (the same with all questions in one backward pass,
as the others' pass holds all rows), `ours-2` (two variants, G/2 each), `trl` (TRL's GRPOTrainer with a video,
which `by_trl` mends), `trl-images` (an image for each frame), `plain` (`generate` and full rows).
`floor` is the time of the bare matrix products of our step (`floor.py`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.bench.measure import parser
from tools.bench.models import SHAPES, save_model
from tools.bench.step.floor import floor
from tools.bench.step.task import Task

WAYS = ("ours", "ours-together", "ours-2", "trl", "trl-images", "plain", "floor")
NEEDS_TRL = ("trl", "trl-images")
Seconds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way at one size: CPU and wall seconds of each round; peak bytes over idle, 0 where not measured."""

    frames: int
    tokens: int
    way: str
    prompt_tokens: int
    cpu_seconds: list[float]
    wall_seconds: list[float]
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        """CPU seconds of a step."""
        return statistics.median(self.cpu_seconds)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.memory_of:
        print(json.dumps(_peak_bytes(arguments)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        folder = save_model(Path(made) / "model", SHAPES[arguments.model])
        for task in _tasks(arguments):
            measured = _measured(folder, task, arguments)
            for row in measured:
                print(_line(row, measured), flush=True)
            rows += measured
    for line in _growth(rows):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(_record(rows), indent=1) + "\n")


def _tasks(arguments: argparse.Namespace) -> list[Task]:
    return [
        Task(questions=arguments.questions, completions=arguments.completions, frames=frames, tokens=tokens)
        for frames in arguments.frames
        for tokens in arguments.tokens
    ]


def way_step(way: str, folder: Path, task: Task) -> tuple[Callable[[], object], Any]:
    """What takes one step, and gives its seconds where it measures itself; and its owner."""
    if way in NEEDS_TRL:
        from tools.bench.step.by_trl import ByTrl

        owner: Any = ByTrl(folder, task, images=way == "trl-images")
        return owner.step, owner
    if way == "plain":
        from tools.bench.step.plain import Plain

        owner = Plain(folder, task.groups(), completions=task.completions, tokens=task.tokens)
        return owner.step, owner
    from tools.bench.step.ours import Ours

    if way == "ours-2":
        task = replace(task, variants=2, completions=task.completions // 2)
    owner = Ours(folder, task, task.questions if way == "ours-together" else 1)
    return owner.step, owner


def _measured(folder: Path, task: Task, arguments: argparse.Namespace) -> list[Row]:
    """All ways at one size, in rounds that take turns, after one unmeasured step of each."""
    ways = {way: way_step(way, folder, task) for way in arguments.ways if way != "floor"}
    for step, _ in ways.values():
        step()
    prompt = max((owner.prompt_tokens for _, owner in ways.values()), default=0)
    steps = {way: step for way, (step, _) in ways.items()}
    if "floor" in arguments.ways:
        steps["floor"] = lambda: floor(ways["ours"][1].policy.model, task, prompt)
    taken = take_turns({way: steps[way] for way in arguments.ways}, arguments.rounds)
    return [
        Row(
            frames=task.frames,
            tokens=task.tokens,
            way=way,
            prompt_tokens=ways[way][1].prompt_tokens if way in ways else prompt,
            cpu_seconds=[each[0] for each in seconds],
            wall_seconds=[each[1] for each in seconds],
            peak_bytes=_memory(way, task, arguments) if arguments.memory and way != "floor" else 0,
        )
        for way, seconds in taken.items()
    ]


def take_turns(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[Seconds]]:
    """Seconds of each way in each round, in which all take turns."""
    taken: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            taken[name].append(seconds_of(work))
    return taken


def growth(tokens: Sequence[int], seconds: Sequence[float]) -> float:
    """The exponent with which seconds grow with tokens."""
    return float(np.polyfit(np.log(tokens), np.log(seconds), 1)[0])


def seconds_of(work: Callable[[], object]) -> Seconds:
    """CPU and wall seconds of a call, or those that it returns."""
    cpu, wall = time.process_time(), time.perf_counter()
    own = work()
    if isinstance(own, tuple):
        return own[0], own[1]
    return time.process_time() - cpu, time.perf_counter() - wall


def _memory(way: str, task: Task, arguments: argparse.Namespace) -> int:
    """Peak bytes of two steps in a process of its own.

    Of every way each large tensor has pages of its own, which are free when it is: else glibc's heap keeps
    what it cannot reuse, which on a GPU the allocator of the device does not.
    """
    command = [sys.executable, "-m", "tools.bench.step", "--memory-of", way, "--model", arguments.model]
    command += ["--frames", str(task.frames), "--tokens", str(task.tokens)]
    command += ["--questions", str(task.questions), "--completions", str(task.completions)]
    own_pages = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=own_pages)
    return int(json.loads(done.stdout.splitlines()[-1]))


def _peak_bytes(arguments: argparse.Namespace) -> int:
    """`peak_over_idle` of two steps."""
    (task,) = _tasks(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = save_model(Path(made) / "model", SHAPES[arguments.model])
        step, _ = way_step(arguments.memory_of, folder, task)
        return peak_over_idle(lambda: (step(), step()))


def peak_over_idle(work: Callable[[], object]) -> int:
    """The peak of resident memory in a call over that before it, in bytes (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    idle = _status("VmRSS")
    work()
    return _status("VmHWM") - idle


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def _line(row: Row, rows: list[Row]) -> str:
    ours = next((each for each in rows if each.way == "ours"), row)
    ratio = median_ratio(row.cpu_seconds, ours.cpu_seconds)
    spread = max(row.cpu_seconds) - min(row.cpu_seconds)
    memory = f"{row.peak_bytes / 2**20:>7.0f} MiB" if row.peak_bytes else ""
    return (
        f"{row.frames:>3} frames {row.tokens:>4} tokens  prompt {row.prompt_tokens:>4}  {row.way:<10} "
        f"{row.median:>7.2f} s CPU ± {spread:<5.2f} {statistics.median(row.wall_seconds):>7.2f} s wall "
        f"{ratio:>6.2f} × ours {memory}"
    )


def median_ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Median over rounds of the ratio of two ways in one round: a busy moment slows both."""
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def _growth(rows: list[Row]) -> list[str]:
    """The exponent with which each way grows with the completion tokens, at each number of frames."""
    lines: list[str] = []
    for frames, way in dict.fromkeys((row.frames, row.way) for row in rows):
        own = [row for row in rows if (row.frames, row.way) == (frames, way)]
        if len(own) > 1:
            slope = growth([row.tokens for row in own], [row.median for row in own])
            lines.append(f"{frames:>3} frames  {way:<10} grows as tokens^{slope:.2f}")
    return lines


def _record(rows: list[Row]) -> dict[str, Any]:
    return {"command": sys.argv, **surroundings(), "rows": [asdict(row) for row in rows]}


def surroundings() -> dict[str, Any]:
    """Date, machine and versions of a measurement."""
    packages = ("torch", "transformers", "trl", "prefix_grouper", "vllm")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{model[0].partition(': ')[2] if model else platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    add = options.add_argument
    add("--ways", nargs="+", choices=WAYS, default=["ours", "ours-2", "trl", "plain", "floor"])
    add("--frames", type=int, nargs="+", default=[32])
    add("--tokens", type=int, nargs="+", default=[32])
    add("--questions", type=int, default=2)
    add("--completions", type=int, default=8)
    add("--rounds", type=int, default=3)
    add("--model", choices=sorted(SHAPES), default="small")
    add("--memory", action="store_true", help="measure peak memory too")
    add("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    add("--json", type=Path, help="write figures, machine, date and versions here")
    return options.parse_args()


if __name__ == "__main__":
    main()
