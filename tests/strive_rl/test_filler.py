"""A lesson of two tokens that any policy can compute, and that moves nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_rl.config import PolicySettings
from strive_rl.filler import make_filler
from strive_rl.policy import load_policy, logprobs
from tests.strive_rl.tiny_models import TINY_MODELS


@pytest.mark.parametrize("architecture", TINY_MODELS)
@pytest.mark.parametrize("train_vision", [False, True])
def test_it_reaches_every_weight_with_a_gradient_of_zero(
    tmp_path: Path, architecture: str, train_vision: bool
) -> None:
    folder = TINY_MODELS[architecture](tmp_path / "model")
    settings = PolicySettings(
        device="cpu", train_vision=train_vision, max_prompt_tokens=1, frame_pairs="neighbours"
    )
    policy = load_policy(str(folder), settings)
    filler = make_filler(policy)
    assert (filler.tokens, len(filler.prompts)) == (2, 1)
    assert (filler.prompts[0].features is None) == train_vision
    (logprobs(policy, filler.prompts, filler.responses, 1.0).sum() * 0.0).backward()
    for name, weight in policy.trainable():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name


def test_the_limit_of_prompts_stays_for_others(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    small = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1))
    assert make_filler(small).tokens == 2
    assert small.settings.max_prompt_tokens == 1
