"""Two processes take the run of one: metrics, weights, resumption, and how both end when one fails.

All runs of two processes are done by one torchrun (`two_processes`), since starting Python takes longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_rl.common import jsonl, run_folder
from strive_rl.common.model_folder import load_state
from tests.strive_rl.made import two_processes
from tests.strive_rl.made.models import (
    save_tiny_qwen2_5_vl,
    save_tiny_qwen3_5_moe,
    save_tiny_qwen3_vl,
    save_tiny_qwen3_vl_moe,
)
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import records

pytestmark = pytest.mark.slow

EQUAL = ("uneven", "one_question", "reference", "lora", "tower", "dynamic_sampling", "hybrid", "experts")
FAILING = ("bad_reward", "too_long", "not_a_number", "infinite")
# The largest of many roundings: it depends on how a batch is cut into passes.
ROUNDING = "logprob_gap"
EXACT = ("questions", "reward", "accuracy", "reward_std", "eta2", "zero_advantage_share", "reward_by_variant")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, NAME-1 by this process and NAME-2 by two others."""
    folder = tmp_path_factory.mktemp("processes")
    make_shards(folder / "shards", samples=10)
    save_tiny_qwen2_5_vl(folder / "tiny")
    save_tiny_qwen3_vl(folder / "tiny3")
    save_tiny_qwen3_vl_moe(folder / "tiny3_moe")
    save_tiny_qwen3_5_moe(folder / "tiny3_5")
    for task in (*(f"{name}:{name}-1" for name in EQUAL), "uneven_half:half-1"):
        two_processes.do(folder, task)
    torchrun(
        folder,
        *(f"{name}:{name}-2" for name in (*EQUAL, "bfloat16")),
        *("uneven_half:half-2", "uneven:whole-2:4:half-2", "uneven:one-two:4:half-1"),
        *("lora_half:lora-half-2", "lora:lora-whole-2:2:lora-half-2"),
        *("hybrid_half:hybrid-half-2", "hybrid:hybrid-whole-2:2:hybrid-half-2"),
        *("experts_half:experts-half-2", "experts:experts-whole-2:2:experts-half-2"),
        *(f"{name}:{name}" for name in FAILING),
    )
    two_processes.do(folder, "uneven:two-one:4:half-2")
    return folder


def torchrun(folder: Path, *tasks: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    module = ["-m", "tests.strive_rl.made.two_processes", str(folder), *tasks]
    done = subprocess.run(
        [*command, *module],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def moments(run: Path, step: int) -> dict[str, torch.Tensor]:
    """AdamW's moments in a checkpoint: every gradient of the run is in them."""
    state = load_state(run_folder.checkpoint_folder(run, step))["optimizer"]["adamw"]["state"]
    return {f"{i}.{kind}": each for i, kinds in state.items() for kind, each in kinds.items()}


def assert_close(one: Any, other: Any, where: str) -> None:
    """Equal, numbers with a point within 1e-4."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_close(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-4), where
    elif isinstance(one, list):
        for i, (mine, yours) in enumerate(zip(one, other, strict=True)):
            assert_close(mine, yours, f"{where}[{i}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_take_the_steps_of_one(folder: Path, name: str) -> None:
    """Every metric within 1e-4, rewards and their kin to the last bit but one; the same answers sampled."""
    one, two = records(folder / f"{name}-1"), records(folder / f"{name}-2")
    assert len(one) == len(two) == two_processes.settings(name).steps
    for mine, yours in zip(one, two, strict=True):
        gaps = [mine.pop(ROUNDING), yours.pop(ROUNDING)]
        assert all(gap is None or gap < 1e-4 for gap in gaps)
        assert_close(mine, yours, f"{name}, step {mine['step']}")
        for exact in EXACT:
            assert yours[exact] == pytest.approx(mine[exact], rel=1e-12, abs=0, nan_ok=True), exact
    assert sum(record["update_tokens"] for record in one) > 0
    assert len({record["grad_norm"] for record in one}) > 1
    rows = [jsonl.read(folder / f"{name}-{count}" / "rollouts.jsonl") for count in (1, 2)]
    said, again = ([(row["sample_id"], row["completion"]) for row in each] for each in rows)
    assert said == again
    assert said


def test_bfloat16_on_two_processes_learns(folder: Path) -> None:
    """Masters and moments are sliced float32; equality is not to be had where logits round to 8 bits."""
    seen = records(folder / "bfloat16-2")
    assert len(seen) == 2
    assert all(record["grad_norm"] > 0 for record in seen)
    state = load_state(run_folder.checkpoint_folder(folder / "bfloat16-2", 2))["optimizer"]
    assert state["masters"]
    assert {each.dtype for each in state["masters"].values()} == {torch.float32}


@pytest.mark.parametrize(
    ("whole", "parts", "steps"),
    [
        ("uneven-2", "whole-2", 4),
        *((f"{name}-2", f"{name}-whole-2", 2) for name in ("lora", "hybrid", "experts")),
    ],
)
def test_a_resumed_run_of_two_processes_is_the_same_bit_for_bit(
    folder: Path, whole: str, parts: str, steps: int
) -> None:
    assert len(records(folder / whole)) == steps
    assert records(folder / whole) == records(folder / parts)
    one, other = moments(folder / whole, steps), moments(folder / parts, steps)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("parts", ["one-two", "two-one"])
def test_a_run_goes_on_with_another_number_of_processes(folder: Path, parts: str) -> None:
    one, other = records(folder / "uneven-1"), records(folder / parts)
    assert [record["step"] for record in other] == [1, 2, 3, 4]
    for mine, yours in zip(one, other, strict=True):
        for name in ("loss", "grad_norm", "reward", "tokens", "update_tokens", "entropy"):
            assert_close(mine[name], yours[name], f"{parts}, step {mine['step']}, {name}")
    before, after = moments(folder / "uneven-1", 4), moments(folder / parts, 4)
    assert all(torch.allclose(before[name], after[name], atol=1e-4) for name in before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_reward", "process 1: step 1, question q"),
        ("too_long", "step 1: none of 4 questions can be used; the first is q"),
        ("not_a_number", "step 1: the loss is nan; questions of this pass: q"),
        ("infinite", "step 1: the gradient is "),
    ],
)
def test_both_processes_end_with_the_reason(folder: Path, name: str, message: str) -> None:
    """Though the second alone may know it; and what comes next in the same processes is not disturbed."""
    messages_by_rank = [(folder / f"{name}.{rank}.txt").read_text() for rank in range(2)]
    kinds, messages = zip(*(each.split(": ", 1) for each in messages_by_rank), strict=True)
    assert kinds == ("SharedError", "PeerFailedError")
    assert messages[0] == messages[1]
    assert messages[0].startswith(message), messages[0]
    assert not (folder / name / "metrics.jsonl").exists()
