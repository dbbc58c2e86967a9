"""With one process nothing is sharded; two are in tests/strive_rl/test_two_processes.py."""

from __future__ import annotations

from pathlib import Path

import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import load_policy
from strive_rl.policy.sharding import shard, sharded_units, unsharded


def test_one_process_keeps_its_plain_model(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    before = [(name, type(weight)) for name, weight in policy.model.named_parameters()]
    shard(policy.model, policy.device)
    with unsharded(policy.model):
        assert sharded_units(policy.model) == []
    assert [(name, type(weight)) for name, weight in policy.model.named_parameters()] == before
    assert policy.fsdp_forward(lambda: torch.tensor(7)).item() == 7
