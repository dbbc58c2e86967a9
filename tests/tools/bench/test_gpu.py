"""The measurement for a GPU, on the CPU with a small model: nothing but the device is new there."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import load_policy
from tools.bench.gpu import __main__ as gpu
from tools.bench.gpu.run import Configuration, measure, update_flops
from tools.bench.gpu.shards import make_shards
from tools.bench.models import save_model, small
from tools.bench.step.task import Task


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    root = tmp_path_factory.mktemp("gpu")
    model = save_model(root / "model", small(64, 2))
    make_shards(root / "shards", questions=2, frames=4, height=56, width=84)
    return Configuration(
        model=str(model),
        shards=str(root / "shards"),
        device="cpu",
        questions=2,
        completions=2,
        tokens=3,
        steps=1,
    )


@pytest.mark.parametrize("changes", [{"lora_rank": 2}, {"way": "plain"}], ids=["trainer", "plain"])
def test_a_configuration_gives_every_figure(given: Configuration, changes: dict[str, Any]) -> None:
    made = measure(replace(given, **changes))
    assert (made["rollouts"], made["completion_tokens"], made["dtype"]) == (8, 3, "float32")
    # Two temporal patches of 2×3 tokens, and text.
    assert made["prompt_tokens"] > 12
    assert {"encode", "rollout", "update", "total"} <= set(made["seconds"])
    assert made["seconds_per_rollout"] == pytest.approx(made["seconds"]["total"] / 8)
    if "way" not in changes:
        assert made["logprob_gap_mean"] <= made["logprob_gap"] < 1e-4
        assert made["estimated_bytes"] > 0
        assert made["memory_bytes"]["process"] > 0
        assert made["flop_use"] > 0
    record = {"date": "d", "device": "CPU", "machine": "m", "load": 1.0, "command": ["--out", "a b"]}
    text = gpu.table(record | {"versions": {"torch": "1"}, "results": [made]})
    assert "tools.bench.gpu --out 'a b'`" in text
    row = text.splitlines()[6]
    assert row.count("|") == len(gpu.COLUMNS) + 1
    assert f"| {made['prompt_tokens']} | 3 |" in row


def test_the_flops_of_an_update_are_those_of_its_products(given: Configuration) -> None:
    """6 a weight of linear layers and token; 2 products of attention forward and 5 backward."""
    model = load_policy(given.model, PolicySettings(device="cpu")).model
    task = Task(questions=1, completions=1, tokens=101)
    linear = sum(each.weight.numel() for each in model.modules() if isinstance(each, torch.nn.Linear))
    tower = sum(
        each.weight.numel() for each in model.model.visual.modules() if isinstance(each, torch.nn.Linear)
    )
    weights, attention = 2 * (linear - tower) * 101, 2 * (2 + 5) * 2 * 100 * 100 * 64
    assert update_flops(model, task, 1, lora=False) == pytest.approx(3 * weights + attention, rel=0.02)
    assert update_flops(model, task, 1, lora=True) == pytest.approx(2 * weights + attention, rel=0.02)


def arguments(**changes: Any) -> argparse.Namespace:
    usual = {"device": "cpu", "tokens": [256, 512], "lora_ranks": [64, 0], "ways": ["builtin", "plain"]}
    return argparse.Namespace(
        **usual | {"questions": 8, "completions": 4, "steps": 2, "timeout": 5} | changes
    )


@pytest.mark.parametrize(("device", "count"), [("cuda", 12), ("cpu", 8)])
def test_graphs_are_measured_on_a_gpu(device: str, count: int) -> None:
    made = list(gpu.configurations(Path("m"), Path("s"), arguments(device=device)))
    assert len(set(made)) == count
    assert {each.graphs for each in made} == ({True, False} if device == "cuda" else {False})


def test_what_does_not_fit_or_fails_is_left_out(
    given: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_device_bytes", lambda device: 1 << 10)
    assert "by --dry-run" in gpu._result(given, arguments())["left_out"]
    monkeypatch.setattr(gpu, "_device_bytes", lambda device: 1 << 40)
    broken = subprocess.CompletedProcess([], 1, stdout="", stderr="CUDA out of memory")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: broken)
    failed = gpu._result(given, arguments())
    assert failed["left_out"] == "CUDA out of memory"
    record = {"date": "d", "device": "CPU", "machine": "m", "load": 1.0, "command": [], "versions": {}}
    record["results"] = [failed]
    assert "left out: " in gpu.table(record)
    json.dumps(record)
