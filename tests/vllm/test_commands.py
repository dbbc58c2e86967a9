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
from tests.strive_rl.made.two_processes import COMMON

LORA, SHARED = "policy.lora_rank=4", "rollout.tensor_parallel_size=2"


def typed(processes: int, *command: object, settings: tuple[str, ...]) -> None:
    program = [sys.executable]
    if processes > 1:
        program += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    program += ["-m", "strive_rl", *map(str, command)]
    program += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(program, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a run, whose prompts may be longer, by the settings, than the model has positions."""

    @cache
    def made(model_type: str, processes: int, *more: str) -> Path:
        folder = tmp_path_factory.mktemp(model_type)
        make_shards(folder / "shards")
        model = save_wide(folder / "model", model_type)
        settings = (*COMMON, "rollout.engine=vllm", "optim.lr=1e-4", *more)
        command = ["train", "--shards", folder / "shards", "--model", model, "--out", folder / "run"]
        typed(processes, *command, settings=settings)
        return folder / "run"

    return made


@pytest.mark.parametrize("model_type", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize(("processes", "more"), [(1, (LORA,)), (2, ()), (2, (SHARED,))])
def test_the_gap_to_the_trainer_is_rounding(
    runs: Callable[..., Path], model_type: str, processes: int, more: tuple[str, ...]
) -> None:
    """Of two processes each has two questions of its own, a slice of the weights, and an engine or half of
    one. Their first completions are those of one process, whose adapters start at nothing."""
    run, alone = runs(model_type, processes, *more), runs(model_type, 1, LORA)
    learned = [line for line in jsonl.read(run / "metrics.jsonl") if line["update_tokens"]]
    assert len(learned) > 1  # With weights that were sent after an update.
    assert max(line["logprob_gap"] for line in learned) < 1e-4
    assert not any(line["capped"] for line in learned)
    rows = [jsonl.read(each / "rollouts.jsonl") for each in (run, alone)]
    made, expected = ([row["completion"] for row in part if row["step"] == 1] for part in rows)
    assert made == expected


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
    same = (one / "settings.json").read_text()
    (two / "settings.json").write_text(same.replace('parallel_size": 1', 'parallel_size": 2'))
    # All answers of the second process.
    jsonl.append(two / "predictions.jsonl", jsonl.read(one / "predictions.jsonl")[2:4])
    typed(2, *command, "--out", two, settings=(*settings, "tensor_parallel_size=2"))
    assert (two / "predictions.jsonl").read_bytes() == (one / "predictions.jsonl").read_bytes()
