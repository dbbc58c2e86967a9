"""The whole path as `make demo` runs it, on a world too small to learn from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import Qwen2_5_VLForConditionalGeneration

from tools.demo import commands

ROOT = Path(__file__).parents[2]


def test_training_and_held_out_worlds_differ() -> None:
    first, second = commands(Path("x"), videos=10, steps=1, seed=3)[:2]
    assert "--videos 10 --seed 3" in first
    assert "--videos 2 --seed 1000003" in second


@pytest.mark.slow
def test_the_demo_runs_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, ROOT / "tools" / "demo.py", "--out", out, "--videos", "4", "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "gain with uniform frames: " in done.stdout
    assert "gain with importance frames: " in done.stdout
    assert (out / "train.shards" / "report.html").is_file()
    assert len((out / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    Qwen2_5_VLForConditionalGeneration.from_pretrained(out / "run" / "model")
