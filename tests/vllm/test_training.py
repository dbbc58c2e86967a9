"""Three steps of training with rollout.engine=vllm, all weights and adapters, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.strive_rl.made.models import save_wide
from tests.strive_rl.made.shards import make_shards


@pytest.mark.parametrize(
    ("model_type", "processes", "more"),
    [
        ("qwen2_5_vl", 1, ()),
        ("qwen2_5_vl", 1, ("policy.lora_rank=4",)),
        ("qwen2_5_vl", 2, ()),
        ("qwen3_vl", 1, ()),
        ("qwen3_vl", 1, ("policy.lora_rank=4",)),
    ],
)
def test_the_gap_to_the_trainer_is_rounding(
    tmp_path: Path, model_type: str, processes: int, more: tuple[str, ...]
) -> None:
    """Of two processes each has an engine of its own, and a slice of the weights. A prompt may be longer, by
    the settings, than the model has positions."""
    make_shards(tmp_path / "shards")
    save_wide(tmp_path / "model", model_type)
    settings = (
        "steps=3", "rollout.engine=vllm", "rollout.completions=4", "rollout.max_new_tokens=8",
        "data.questions_per_step=2", "policy.device=cpu",
        "reward.function=tests.strive_rl.made.two_processes:by_hash",
        *more,
    )  # fmt: skip
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "strive_rl", "train", "--shards", str(tmp_path / "shards")]
    command += ["--model", str(tmp_path / "model"), "--out", str(tmp_path / "run")]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    learned = [line for line in lines if line["update_tokens"]]
    assert len(lines) == 3
    assert learned
    assert max(line["logprob_gap"] for line in learned) < 1e-4
    assert not any(line["capped"] for line in learned)
