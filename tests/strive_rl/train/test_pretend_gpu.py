"""Training as on a GPU, where none is (`made.pretend_gpu`): no tensor is on the wrong device, nothing waits
for the device once a token or a layer, and captured decode steps say what plain ones do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_data.shards.reader import ShardSet
from strive_rl.config import (
    DataSettings,
    OptimSettings,
    PolicySettings,
    RewardSettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.policy import Sampling, load_policy, sample
from strive_rl.rollout.groups import encode_groups, with_prompts
from strive_rl.train.state import open_run
from strive_rl.train.trainer import fit, train_step
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import DENSE, TINY_MODELS
from tests.strive_rl.made.pretend_gpu import PretendGpu
from tests.strive_rl.made.rollouts import TWO_VIEWS

# Of a step with one pass of the update: 62 to 75, many of them copies of a few numbers to the device. What
# waits once a layer does so 6 times in the update, since passes are computed again.
MOST_WAITS = 80


def settings(**policy: Any) -> TrainSettings:
    return TrainSettings(
        data=DataSettings(questions_per_step=2),
        policy=PolicySettings(device="cuda", gradient_checkpointing=True, groups_per_pass=2, **policy),
        rollout=RolloutSettings(completions=3, max_new_tokens=10, temperature=4.0),
        reward=RewardSettings(function="tools.bench.step.task:reward_parts"),
        optim=OptimSettings(lr=1e-3),
        steps=2,
        save_every=1,
    )


@pytest.mark.parametrize(("model", "rank"), [*((name, 0) for name in TINY_MODELS), ("qwen3_vl", 4)])
def test_a_step_stays_on_its_device(model: str, rank: int, shards: ShardSet, tmp_path: Path) -> None:
    source = str(TINY_MODELS[model](tmp_path / "model"))
    with PretendGpu() as gpu:
        run = open_run(tmp_path / "run", shards=shards, model=source, settings=settings(lora_rank=rank))
        assert run.policy.model.dtype == torch.bfloat16
        with closing(run.loader):
            assert all(each.prompts for each in run.loader.take(run.cursor)[0])
            gpu.waits.clear()
            record = train_step(run)
    assert record["updates"] == 1
    assert record["grad_norm"] > 0
    assert record["logprob_gap_mean"] < 0.1
    assert gpu.waits.total() <= MOST_WAITS, gpu.waits
    assert not [name for name, count in gpu.waits.items() if count > 5], gpu.waits
    # The first step of a width and those that look for ended rows are run as they are.
    assert [graph.replays for graph in gpu.graphs] == ([8] if model in DENSE else [])


def test_a_run_is_saved_resumed_and_evaluated(shards: ShardSet, tmp_path: Path) -> None:
    source = str(TINY_MODELS["qwen2_5_vl"](tmp_path / "model"))
    common = {"shards": shards, "model": source}
    with PretendGpu():
        run = open_run(tmp_path / "run", settings=settings(), **common)
        fit(run, lambda record, steps: None)
        longer = open_run(tmp_path / "run", resume=True, settings=replace(settings(), steps=3), **common)
        assert longer.step == 2
        assert {each.device.type for each in longer.policy.model.parameters()} == {"cuda"}
        fit(longer, lambda record, steps: None)
    saved = load_policy(str(tmp_path / "run" / "model"), PolicySettings(device="cpu", dtype="bfloat16"))
    for ours, theirs in zip(longer.policy.model.parameters(), saved.model.parameters(), strict=True):
        assert torch.equal(ours.detach(), theirs)


def test_pixels_of_the_loader_are_copied_without_waiting(tmp_path: Path) -> None:
    """Two views of two frame pairs, all different."""
    source = str(TINY_MODELS["qwen2_5_vl"](tmp_path / "model"))
    waits = []
    with PretendGpu() as gpu:
        policy = load_policy(source, PolicySettings(device="cuda"))
        asked = make_group(times=TWO_VIEWS)
        with ThreadPoolExecutor(1) as loader:
            prepared = loader.submit(with_prompts, policy, asked).result()
        for given in (prepared, asked):
            gpu.waits.clear()
            encode_groups(policy, [given])
            waits.append(sum(count for name, count in gpu.waits.items() if "encode.py" in name))
    assert waits == [0, 4]


@pytest.mark.parametrize(
    ("model", "views"), [("qwen2_5_vl", TWO_VIEWS), *((name, (*TWO_VIEWS, (1.0, 2.0))) for name in DENSE)]
)
def test_a_captured_step_says_what_a_plain_one_does(model: str, views: Any, tmp_path: Path) -> None:
    """Prompts of one length, which a flash kernel reads without a mask, and of two."""
    source = str(TINY_MODELS[model](tmp_path / "model"))
    drawn = []
    for graphs in (True, False):
        with PretendGpu() as gpu:
            policy = load_policy(source, PolicySettings(device="cuda", cuda_graphs=graphs))
            ((encoded,), _) = encode_groups(policy, [make_group(times=views)])
            sampling = Sampling(completions=2, max_new_tokens=20, greedy=True)
            drawn.append(sample(policy, encoded.prompts, sampling))
        assert bool(gpu.graphs) == graphs
    assert drawn[0] == drawn[1]


def test_what_a_gpu_refuses_is_refused() -> None:
    with PretendGpu() as gpu:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert (there.device.type, here.device.type, (there * 2).device.type) == ("cuda", "cpu", "cuda")
        with pytest.raises(RuntimeError, match="found on cpu"):
            there + here
        with pytest.raises(TypeError, match="cuda"):
            there.numpy()
        assert float((there + here.to("cuda")).sum()) == 6
        assert gpu.waits.total() == 2
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            there += 1
            with pytest.raises(RuntimeError, match="capturing"):
                float(there.sum())
        assert there.tolist() == [1, 1, 1]
        graph.replay()
        graph.replay()
        assert there.tolist() == [3, 3, 3]
