"""The main job, end to end, on a small rendered world: what `make demo` runs.

Each step is a command that can be typed by hand; this script prints it, runs it, and stops where one fails.
The same call goes on where an earlier one ended. Nothing that is there is deleted.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from strive_data.demo.world import build_options

BUILD = build_options("easy")
ANSWER = "--max-new-tokens 16"
# Several questions a pass: of a tiny model a pass is nearly all overhead, and README has the figures of 8.
TRAIN = f"--set data.questions_per_step=32 --set policy.groups_per_pass=8 --set optim.lr=1e-4 {ANSWER}"
HELD_OUT_SEED = 1_000_000
FEW = 40
"""Held-out videos below which the intervals are not to be trusted."""
STATE_FILE = "demo.json"


def main(
    out: Path = Path("demo"),
    videos: Annotated[int, typer.Option(min=10)] = 400,
    steps: Annotated[int, typer.Option(min=1)] = 150,
    seed: int = 0,
) -> None:
    """Train on so many rendered videos, evaluate on a fifth as many; the same call goes on in its folder."""
    wanted = {"videos": videos, "steps": steps, "seed": seed}
    done = steps_done(out, wanted)
    started = time.monotonic()
    for number, command in enumerate(commands(out, **wanted), start=1):
        if number <= done:
            print(f"\n$ {command}\n(done before)", flush=True)
            continue
        run(command + resumption(out, command))
        record(out, wanted, number)
    held_out = videos // 5
    print(
        f"\nDone in {time.monotonic() - started:.0f} s. Accuracy on {held_out} videos not seen in training:"
    )
    if held_out < FEW:
        print(f"  {held_out} videos are few: an interval over them says little; --videos 400 gives 80")
    for name in ("before", "after"):
        print(accuracy_line(out, name))
    for sampler, gain in results(out, "after")["gain"].items():
        print(f"  gain with {sampler} frames: {interval(gain)} points")
    print("Look at")
    print(f"  {out / 'train.shards' / 'report.html'}   which frames the variants took, and why")
    print(f"  {out / 'curves.html'}   the training, step by step")
    print(f"  {out / 'run'}   metrics.jsonl, sampled answers in rollouts.jsonl, the trained model")


def steps_done(out: Path, wanted: dict[str, int]) -> int:
    """How many steps an earlier call finished. SystemExit for a folder that is not this demo's."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        record(out, wanted, 0)
        return 0
    if not (out / STATE_FILE).is_file():
        raise SystemExit(f"error: --out {out}: not empty and no demo (no {STATE_FILE}); give another --out")
    state = json.loads((out / STATE_FILE).read_text())
    if state["demo"] != wanted:
        raise SystemExit(
            f"error: --out {out} holds the demo of {state['demo']}, not of {wanted}; give another --out"
        )
    return int(state["done"])


def record(out: Path, wanted: dict[str, int], done: int) -> None:
    """Write down that so many steps are finished."""
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".{STATE_FILE}.tmp"
    temporary.write_text(json.dumps({"demo": wanted, "done": done}) + "\n")
    temporary.replace(out / STATE_FILE)


def resumption(out: Path, command: str) -> str:
    """What is added to a command that an earlier call began: training resumes only where it is said."""
    training = command.startswith("strive-rl train")
    return " --resume" if training and (out / "run" / "settings.json").is_file() else ""


def commands(out: Path, *, videos: int, steps: int, seed: int) -> list[str]:
    """The steps of the demo, as they are typed."""
    held_out = videos // 5
    shards = {name: f"{out}/{name}.shards" for name in ("train", "heldout")}
    return [
        f"strive-data synth --out {out}/train --videos {videos} --seed {seed}",
        f"strive-data synth --out {out}/heldout --videos {held_out} --seed {seed + HELD_OUT_SEED}",
        *(
            f"strive-data build {out}/{name}/questions.jsonl --data-root {out}/{name} --out {folder} {BUILD}"
            for name, folder in shards.items()
        ),
        f"strive-data report {shards['train']}",
        f"strive-rl eval --shards {shards['heldout']} --model demo --out {out}/before {ANSWER}",
        f"strive-rl train --shards {shards['train']} --model demo --out {out}/run --steps {steps} "
        f"--seed {seed} {TRAIN}",
        f"strive-rl eval --shards {shards['heldout']} --model {out}/run/model --out {out}/after "
        f"--baseline {out}/before {ANSWER}",
        f"strive-rl plot {out}/run --out {out}/curves.html",
    ]


def run(command: str) -> None:
    """Print and run one command of this environment; its failure ends the demo with its exit code."""
    print(f"\n$ {command}", flush=True)
    program, *rest = shlex.split(command)
    # Small matrices: more threads than one only wait for each other.
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    process = subprocess.Popen([Path(sys.executable).parent / program, *rest], env=environment)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command has it too, and saves what it has
    status = process.wait()
    signal.signal(signal.SIGINT, before)
    if status:
        raise SystemExit(status if status > 0 else 128 - status)


def results(out: Path, name: str) -> dict[str, Any]:
    """The results of one evaluation of the demo."""
    body: dict[str, Any] = json.loads((out / name / "results.json").read_text())
    return body


def accuracy_line(out: Path, name: str) -> str:
    """Accuracy of one evaluation by frame sampler."""
    parts = [
        f"{sampler} frames {interval(part['accuracy'])} %"
        for sampler, part in results(out, name)["samplers"].items()
    ]
    return f"  {name:7s}{', '.join(parts)}"


def interval(estimate: dict[str, float]) -> str:
    """Mean and 95 % interval in per cent."""
    mean, low, high = (100 * estimate[part] for part in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    typer.run(main)
