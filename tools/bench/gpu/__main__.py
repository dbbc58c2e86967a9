"""A training step at published size on one GPU: seconds by phase, tokens/s, FLOP use, memory, gap.

    python -m tools.bench.gpu --out bench/gpu                                     # on a GPU
    python -m tools.bench.gpu --out bench/cpu --device cpu --models small --questions 2 --frames 4 --tokens 8

It needs no network: it makes models of the sizes of Qwen2.5-VL-7B and Qwen3-VL-8B with random weights, and a
build of noise pictures (`--shards` takes another). Each configuration is trained by `strive-rl`'s own trainer
in a process of its own: LoRA and all weights, with and without a CUDA graph, and by plain transformers
(`generate`, then full rows). One whose memory, by `train --dry-run`, exceeds the device's is left out, saying
so; so is one that fails, with its error. OUT gets a dated JSON and a table, both written after each
configuration.

A GPU-second a rollout means: all seconds of a step, by completions of that step, at the prompt and completion
tokens stated beside it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from shlex import join
from typing import Any

import psutil
import torch

from tools.bench.gpu.run import Configuration, estimated_bytes, measure
from tools.bench.gpu.shards import make_shards
from tools.bench.measure import parser
from tools.bench.models import SHAPES, save_model
from tools.bench.step.__main__ import surroundings

RESULT = "result "
WAYS = ("builtin", "vllm", "plain")
COLUMNS = (
    "model", "way", "weights", "graph", "prompt", "tokens", "s/step", "data", "encode", "rollout", "update",
    "s/rollout", "tokens/s", "FLOP use", "peak GiB", "dry-run GiB", "gap max", "gap mean",
)  # fmt: skip


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        print(RESULT + json.dumps(measure(Configuration(**json.loads(arguments.one)))))
        return
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    shards = arguments.shards or _made_shards(out, arguments)
    name = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d-%H%M%S")
    results: list[dict[str, Any]] = []
    for model in arguments.models:
        folder = _made_model(out, model, arguments.device)
        for given in configurations(folder, shards, arguments):
            result = _result(given, arguments)
            results.append(result | {"model": model})
            print(json.dumps(results[-1]), flush=True)
            record = {
                "command": sys.argv[1:],
                **surroundings(),
                "device": _device_name(arguments.device),
                "results": results,
            }
            (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
            (out / f"{name}.md").write_text(table(record))
    print(table(record))


def configurations(folder: Path, shards: Path, arguments: argparse.Namespace) -> Iterator[Configuration]:
    """What is measured of a model; a graph makes a difference on a GPU alone."""
    graphs = (True, False) if arguments.device.startswith("cuda") else (False,)
    for tokens in arguments.tokens:
        for rank in arguments.lora_ranks:
            same = {
                name: getattr(arguments, name) for name in ("device", "questions", "completions", "steps")
            }
            one = Configuration(model=str(folder), shards=str(shards), lora_rank=rank, tokens=tokens, **same)
            for way in arguments.ways:
                for graph in graphs if way == "builtin" else (False,):
                    yield replace(one, way=way, graphs=graph)


def _result(given: Configuration, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures, or under `left_out` why there are none."""
    held, needed = _device_bytes(given.device), estimated_bytes(given)
    if needed > held:
        gib = f"{needed / 2**30:.0f} GiB by --dry-run, the device has {held / 2**30:.0f}"
        return {**asdict(given), "left_out": f"needs {gib}"}
    command = [sys.executable, "-m", "tools.bench.gpu", "--one", json.dumps(asdict(given))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout)
    except subprocess.TimeoutExpired:
        return {**asdict(given), "left_out": f"took longer than {arguments.timeout} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if done.returncode or not lines:
        return {**asdict(given), "left_out": "\n".join(done.stderr.splitlines()[-6:])}
    made: dict[str, Any] = json.loads(lines[-1].removeprefix(RESULT))
    return made


def _made_shards(out: Path, arguments: argparse.Namespace) -> Path:
    folder = out / f"shards-{arguments.questions}x{arguments.frames}-{arguments.height}x{arguments.width}"
    if not folder.exists():
        sizes = {name: getattr(arguments, name) for name in ("questions", "frames", "height", "width")}
        make_shards(folder, **sizes)
    return folder


def _made_model(out: Path, name: str, device: str) -> Path:
    folder = out / name
    if not (folder / "tokenizer.json").exists():
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
        save_model(folder, SHAPES[name], device=device, dtype=dtype)
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return folder


def _device_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def table(record: dict[str, Any]) -> str:
    """Markdown: a head, a row for each configuration, and what was left out."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    head = (
        f"{record['date']}, {record['device']} ({record['machine']}), load {record['load']:.0f}, {versions}"
    )
    command = f"`python -m tools.bench.gpu {join(record['command'])}`, seconds by the clock"
    lines = [head, "", command, "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for each in record["results"]:
        if "left_out" not in each:
            lines.append("| " + " | ".join(_cells(each)) + " |")
    lines.append("")
    for each in record["results"]:
        if "left_out" in each:
            what = f"{each['model']}, {each['way']}, rank {each['lora_rank']}, {each['tokens']} tokens"
            lines.append(f"- left out: {what}: {each['left_out']}")
    return "\n".join(lines) + "\n"


def _cells(one: dict[str, Any]) -> list[str]:
    seconds, memory = one["seconds"], one["memory_bytes"]
    gib = {name: f"{size / 2**30:.2f}" for name, size in memory.items()}
    return [
        one["model"],
        one["way"],
        f"LoRA {one['lora_rank']}" if one["lora_rank"] else "all",
        "yes" if one["way"] == "builtin" and one["graphs"] else "",
        str(one["prompt_tokens"]),
        str(one["completion_tokens"]),
        *(f"{seconds[phase]:.2f}" if phase in seconds else "" for phase in ("total", "data", "encode")),
        *(f"{seconds[phase]:.2f}" for phase in ("rollout", "update")),
        f"{one['seconds_per_rollout']:.3f}",
        f"{one['sampled_tokens_per_second']:.0f}",
        f"{one['flop_use']:.1%}" if "flop_use" in one else "",
        gib.get("device") or gib.get("process", ""),
        f"{one['estimated_bytes'] / 2**30:.2f}" if "estimated_bytes" in one else "",
        *(f"{one[name]:.1e}" if one.get(name) is not None else "" for name in GAPS),
    ]


GAPS = ("logprob_gap", "logprob_gap_mean")


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    add = options.add_argument
    add("--out", type=Path, default=Path("bench/gpu"))
    add("--device", default="cuda")
    add("--models", nargs="+", choices=sorted(SHAPES), default=["qwen2.5-vl-7b", "qwen3-vl-8b"])
    add("--ways", nargs="+", choices=WAYS, default=["builtin", "plain"])
    add("--lora-ranks", type=int, nargs="+", default=[64, 0], help="0: all weights")
    add("--tokens", type=int, nargs="+", default=[256, 512])
    add("--questions", type=int, default=8)
    add("--completions", type=int, default=4, help="of each of two variants")
    add("--frames", type=int, default=32)
    add("--height", type=int, default=252)
    add("--width", type=int, default=392)
    add("--steps", type=int, default=2, help="measured, after one that is not")
    add("--shards", type=Path, help="a build to take instead of noise pictures")
    add("--timeout", type=int, default=1800, help="seconds for one configuration")
    add("--one", help=argparse.SUPPRESS)
    return options.parse_args()


if __name__ == "__main__":
    main()
