"""The main job, end to end, on a small rendered world: what `make demo` runs.

Each step is a command that can be typed by hand; this script prints it, runs it, and stops where one fails.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

BUILD = "--scorer demo --candidates 32 --frames 8 --set decode.max_pixels=784 --set shard.frames=all"
TRAIN = "--set data.questions_per_step=32 --set optim.lr=1e-4 --set rollout.max_new_tokens=16"
EVAL = "--set max_new_tokens=16"


def main() -> None:
    arguments = _arguments()
    out: Path = arguments.out
    if out.exists():
        shutil.rmtree(out)
    started = time.monotonic()
    for command in commands(out, videos=arguments.videos, steps=arguments.steps, seed=arguments.seed):
        run(command)
    print(f"\ndone in {time.monotonic() - started:.0f} s; look at")
    print(f"  {out / 'train.shards' / 'report.html'}   which frames the variants took, and why")
    print(f"  {out / 'run'}   metrics, sampled answers, the trained model")
    print_gain(out / "after" / "results.json")


def commands(out: Path, *, videos: int, steps: int, seed: int) -> list[str]:
    """The steps of the demo, as they are typed."""
    held_out = max(videos // 2, 1)
    return [
        f"strive-data synth --out {out}/train --videos {videos} --seed {seed}",
        f"strive-data synth --out {out}/heldout --videos {held_out} --seed {seed + 1_000_000}",
        f"strive-data build {out}/train/questions.jsonl --data-root {out}/train --out {out}/train.shards {BUILD}",
        f"strive-data build {out}/heldout/questions.jsonl --data-root {out}/heldout "
        f"--out {out}/heldout.shards {BUILD}",
        f"strive-data report {out}/train.shards",
        f"strive-rl eval --shards {out}/heldout.shards --model demo --out {out}/before {EVAL}",
        f"strive-rl train --shards {out}/train.shards --model demo --out {out}/run --steps {steps} "
        f"--seed {seed} {TRAIN}",
        f"strive-rl eval --shards {out}/heldout.shards --model {out}/run/model --out {out}/after "
        f"--baseline {out}/before {EVAL}",
    ]


def run(command: str) -> None:
    """Print and run one command of this environment; its failure ends the demo with its exit code."""
    print(f"\n$ {command}", flush=True)
    program, *rest = shlex.split(command)
    status = subprocess.run([str(Path(sys.executable).parent / program), *rest]).returncode
    if status:
        raise SystemExit(status)


def print_gain(results: Path) -> None:
    """The held-out gain by frame sampler, with its interval."""
    body = json.loads(results.read_text())
    print(json.dumps(body, indent=1)[:400])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder, emptied first")
    parser.add_argument("--videos", type=int, default=96, help="videos to train on")
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
