"""Training and evaluating with the vllm engine as typed, in one process and two, which may share a copy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from strive_rl.common import jsonl
from tests.strive_rl.eval.made_benchmark import make_benchmark
from tests.strive_rl.made.models import save_wide
from tests.strive_rl.made.shards import make_shards

SHARED = "rollout.tensor_parallel_size=2"
Runs = Callable[..., Path]


def typed(processes: int, *command: object, settings: tuple[str, ...]) -> None:
    program = [sys.executable]
    if processes > 1:
        program += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    program += ["-m", "strive_rl", *map(str, command)]
    program += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The folder of three steps of training. A prompt may be longer, by the settings, than the model has
    positions."""

    @cache
    def made(model_type: str, processes: int, *more: str) -> Path:
        folder = tmp_path_factory.mktemp(model_type)
        make_shards(folder / "shards")
        model = save_wide(folder / "model", model_type)
        settings = (
            "steps=3", "rollout.engine=vllm", "rollout.completions=4", "rollout.max_new_tokens=8",
            "data.questions_per_step=2", "policy.device=cpu", "optim.lr=1e-3",
            "reward.function=tests.strive_rl.made.two_processes:by_hash",
            *more,
        )  # fmt: skip
        command = ["train", "--shards", folder / "shards", "--model", model, "--out", folder / "run"]
        typed(processes, *command, settings=settings)
        return folder / "run"

    return made


@pytest.mark.parametrize(
    ("model_type", "processes", "more"),
    [
        ("qwen2_5_vl", 1, ()),
        ("qwen2_5_vl", 1, ("policy.lora_rank=4",)),
        ("qwen2_5_vl", 2, ()),
        ("qwen2_5_vl", 2, (SHARED,)),
        ("qwen3_vl", 1, ("policy.lora_rank=4",)),
        ("qwen3_vl", 2, (SHARED,)),
    ],
)
def test_the_gap_to_the_trainer_is_rounding(
    runs: Runs, model_type: str, processes: int, more: tuple[str, ...]
) -> None:
    """Of two processes each has its question, a slice of the weights, and an engine or half of one."""
    lines = jsonl.read(runs(model_type, processes, *more) / "metrics.jsonl")
    learned = [line for line in lines if line["update_tokens"]]
    assert len(lines) == 3
    assert learned
    assert max(line["logprob_gap"] for line in learned) < 1e-4
    assert not any(line["capped"] for line in learned)


def test_processes_that_share_a_copy_sample_what_one_does(runs: Runs) -> None:
    whole, halves = (
        [row for row in jsonl.read(run / "rollouts.jsonl") if row["step"] == 1]
        for run in (runs("qwen2_5_vl", 1), runs("qwen2_5_vl", 2, SHARED))
    )
    assert len({row["sample_id"] for row in halves}) == 2
    for name in ("sample_id", "variant", "place", "completion"):
        assert [row[name] for row in halves] == [row[name] for row in whole]


def test_an_evaluation_resumes_where_one_process_has_nothing_left(tmp_path: Path) -> None:
    """Greedy answers of two processes with one copy are those of one process, byte for byte."""
    model = save_wide(tmp_path / "model", "qwen2_5_vl")
    task = make_benchmark(tmp_path / "root", model, videos=3, questions=2)
    command = ["eval", "--benchmark", "videomme", "--data-root", task.data_root, "--model", model]
    command += ["--annotations", task.annotations[0], "--engine", "vllm", "--max-new-tokens", 8]
    settings = ("policy.device=cpu", "policy.prompts_per_pass=2")
    settings += ("decode.candidates=8", "decode.max_pixels=3136", "sampler.frames=4")
    one, two = tmp_path / "one", tmp_path / "two"
    typed(1, *command, "--out", one, settings=settings)
    two.mkdir()
    size = '"tensor_parallel_size": '
    text = (one / "settings.json").read_text()
    (two / "settings.json").write_text(text.replace(f"{size}1", f"{size}2"))
    answers = jsonl.read(one / "predictions.jsonl")
    jsonl.append(two / "predictions.jsonl", answers[2:4])  # All of the second process.
    typed(2, *command, "--out", two, settings=(*settings, "tensor_parallel_size=2"))
    assert (two / "predictions.jsonl").read_bytes() == (one / "predictions.jsonl").read_bytes()
    assert all(answer["output"] for answer in answers)
