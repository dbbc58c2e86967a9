"""The calls into a model, on text alone, against its own forward pass; clips; one process is not sharded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.policy import Clip
from strive_rl.policy.sharding import shard, unsharded


def ids_and_positions(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([[3, 5, 8, 13, 21, 34]], device=policy.device)
    return ids, torch.arange(6, device=policy.device).expand(3, 1, 6)


def test_reading_and_logits_are_the_models_own(any_policy: Policy) -> None:
    ids, positions = ids_and_positions(any_policy)
    with torch.no_grad():
        hidden = any_policy.forward({"inputs_embeds": any_policy.embed(ids)}, positions)
        expected = any_policy.model(input_ids=ids, position_ids=positions).logits
        made = any_policy.model.lm_head(hidden).float()
    assert made.dtype == torch.float32
    assert torch.allclose(made, expected.float(), atol=1e-5)


def test_patch_times_are_the_means_of_merged_frames() -> None:
    clip = Clip(grid=(2, 4, 6), times=np.array([0.0, 1.0, 4.0, 9.0]))
    np.testing.assert_array_equal(clip.patch_times, [0.5, 6.5])


def test_merging_leaves_time_alone() -> None:
    assert Clip(grid=(2, 4, 6), times=np.zeros(4)).merged(2) == (2, 2, 3)


def test_one_process_keeps_its_plain_model(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    before = [(name, type(weight)) for name, weight in policy.model.named_parameters()]
    shard(policy.model, policy.device)
    with unsharded(policy.model):
        assert [(name, type(weight)) for name, weight in policy.model.named_parameters()] == before
    assert policy.fsdp_forward(lambda: torch.tensor(7)).item() == 7
