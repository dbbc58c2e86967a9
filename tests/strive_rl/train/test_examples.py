"""What is learned, what an update holds fixed, and what that costs in forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_rl.config import AlgorithmSettings, PolicySettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.policy.lora import adapters_off
from strive_rl.rollout.groups import encode_groups
from strive_rl.schema import Group
from strive_rl.train.update import Pass, fix_logprobs, learned_part, load_reference, make_dummy
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import TINY_MODELS, answering
from tests.strive_rl.made.rollouts import (
    TEMPERATURE,
    TWO_VIEWS,
    completion,
    learned_of,
    rewarded,
    rolled_out,
)

RIGHT, WRONG = completion("<answer>A</answer>", 2), completion("<answer>B</answer>")
FORMED = completion("<think>a</think><answer>A</answer>")
CUT = replace(WRONG, finished=False)
ROWS = ((RIGHT, WRONG), (RIGHT, FORMED))
ADVANTAGES = ((1.0, 2.0), (3.0, 4.0))
CUSTOM = AlgorithmSettings()


@pytest.fixture(scope="module")
def group(tiny_policy: Policy) -> Group:
    (encoded,), _ = encode_groups(tiny_policy, [make_group("q", TWO_VIEWS)])
    return encoded


def test_only_informative_questions_are_learned() -> None:
    mixed = rewarded(make_group("mixed", TWO_VIEWS), ((RIGHT, WRONG), (RIGHT, RIGHT)), ADVANTAGES)
    equal = rewarded(make_group("equal", TWO_VIEWS), ((RIGHT, FORMED), (RIGHT, RIGHT)), ADVANTAGES)
    (left,) = learned_part([equal, mixed], CUSTOM)
    assert (left.question.sample_id, left.tokens) == ("mixed", 7)
    assert left.advantages.tolist() == [1, 2, 3, 4]
    assert left.completions == mixed.completions


def test_a_variant_that_differs_in_format_alone_is_not_learned_per_variant(group: Group) -> None:
    mixed = rewarded(group, ((RIGHT, WRONG), (RIGHT, FORMED)), ADVANTAGES)
    assert learned_part([mixed], CUSTOM)[0].completions == mixed.completions
    (left,) = learned_part([mixed], replace(CUSTOM, normalise="per_variant"))
    assert (left.prompts, left.completions) == (group.prompts[:1], ((RIGHT, WRONG),))
    assert left.advantages.tolist() == [1, 2]


def test_truncated_completions_are_left_out_and_their_prompts_with_them(group: Group) -> None:
    cut = rewarded(group, ((CUT, RIGHT), (CUT, CUT)), ADVANTAGES)
    assert learned_part([cut], CUSTOM)[0].tokens == 5
    (left,) = learned_part([cut], replace(CUSTOM, mask_truncated=True))
    assert (left.prompts, left.completions) == (group.prompts[:1], ((RIGHT,),))
    assert left.advantages.tolist() == [2]
    nothing = rewarded(group, ((CUT, replace(RIGHT, finished=False)), (CUT, CUT)), ADVANTAGES)
    assert learned_part([nothing], replace(CUSTOM, mask_truncated=True)) == []


@pytest.mark.parametrize("architecture", TINY_MODELS)
@pytest.mark.parametrize("train_vision", [False, True])
def test_the_dummy_group_reaches_every_weight_with_a_gradient_of_zero(
    tmp_path: Path, architecture: str, train_vision: bool
) -> None:
    folder = TINY_MODELS[architecture](tmp_path / "model")
    settings = PolicySettings(
        device="cpu", train_vision=train_vision, max_prompt_tokens=1, frame_pairs="neighbours"
    )
    policy = load_policy(str(folder), settings)
    dummy = make_dummy(policy)
    assert (dummy.tokens, len(dummy.prompts)) == (2, 1)
    assert (dummy.prompts[0].features is None) == train_vision
    (logprobs(policy, dummy.prompts, dummy.completions, 1.0).sum() * 0.0).backward()
    for name, weight in policy.trainable():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name


def test_the_dummy_group_ignores_the_prompt_limit_and_leaves_it(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    small = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1))
    assert make_dummy(small).tokens == 2
    assert small.settings.max_prompt_tokens == 1


@pytest.fixture(scope="module")
def policy(tiny_folder: Path) -> Policy:
    settings = PolicySettings(device="cpu", groups_per_pass=2)
    return answering(load_policy(str(tiny_folder), settings))


@pytest.fixture(scope="module")
def reference(tiny_folder: Path, policy: Policy) -> Any:
    return load_reference(str(tiny_folder), policy)


@pytest.fixture(scope="module")
def groups(policy: Policy) -> list[Group]:
    return rolled_out(policy)


def forwards(model: Any, act: Callable[[], object]) -> int:
    """Forward passes of the language model while `act` runs."""
    count = []
    hook = model.model.language_model.register_forward_hook(lambda *_: count.append(1))
    act()
    hook.remove()
    return len(count)


@pytest.mark.parametrize(
    ("changes", "old", "kl"),
    [
        ({}, 0, 0),
        ({"old_logprobs": "rollout", "minibatches": 2}, 0, 0),
        ({"minibatches": 2}, 1, 0),
        ({"epochs_per_rollout": 3}, 1, 0),
        ({"kl_beta": 0.1}, 0, 1),
        ({"kl_beta": 0.1, "epochs_per_rollout": 2}, 1, 1),
    ],
)
def test_nothing_is_computed_that_the_loss_does_not_ask_for(
    policy: Policy, reference: Any, groups: list[Group], changes: dict[str, Any], old: int, kl: int
) -> None:
    settings = AlgorithmSettings(**changes)
    passes = two_a_pass(learned_of(groups, settings))

    def made() -> None:
        fix_logprobs(policy, passes, settings, reference, TEMPERATURE)
        assert all(
            (each.old_logprobs is not None, each.reference_logprobs is not None) == (old, kl)
            for each in passes
        )

    assert forwards(policy.model, made) == old * len(passes)
    assert forwards(reference, made) == kl * len(passes)


def two_a_pass(groups: list[Group]) -> list[Pass]:
    return [Pass(groups=groups[start : start + 2]) for start in range(0, len(groups), 2)]


def test_each_group_gets_its_own_tokens(policy: Policy, reference: Any, groups: list[Group]) -> None:
    settings = AlgorithmSettings(kl_beta=0.1, minibatches=2)
    passes = two_a_pass(learned_of(groups, settings))
    assert len(passes[0].groups) == 2
    fix_logprobs(policy, passes, settings, reference, TEMPERATURE)
    for each in passes:
        tokens = mask(each.completions)
        alone = [logprobs(policy, one.prompts, one.completions, TEMPERATURE).detach() for one in each.groups]
        own = [mask(one.flat) for one in each.groups]
        expected = torch.cat([made[place] for made, place in zip(alone, own, strict=True)])
        # The reference is the same model here, as nothing was learned yet.
        for fixed in (each.old_logprobs, each.reference_logprobs):
            assert fixed is not None
            torch.testing.assert_close(fixed[tokens], expected, atol=1e-5, rtol=0)


def test_a_divergence_needs_a_reference(policy: Policy, groups: list[Group]) -> None:
    settings = AlgorithmSettings(kl_beta=0.1)
    with pytest.raises(ValueError, match="without a reference"):
        fix_logprobs(policy, two_a_pass(learned_of(groups, settings)), settings, None, TEMPERATURE)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_the_reference_stays_where_the_policy_began(tiny_folder: Path, lora_rank: int) -> None:
    policy = answering(load_policy(str(tiny_folder), PolicySettings(device="cpu", lora_rank=lora_rank)))
    reference = load_reference(str(tiny_folder), policy)
    assert (reference is policy.model) == bool(lora_rank)
    settings = AlgorithmSettings(kl_beta=0.1)
    one = Pass(groups=learned_of(rolled_out(policy), settings)[:1])
    group = one.groups[0]

    def under_policy() -> torch.Tensor:
        return logprobs(policy, group.prompts, group.completions, TEMPERATURE).detach()

    before = under_policy()
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    fix_logprobs(policy, [one], settings, reference, TEMPERATURE)
    assert one.reference_logprobs is not None
    assert not one.reference_logprobs.requires_grad
    torch.testing.assert_close(one.reference_logprobs, before, atol=1e-6, rtol=0)
    assert float((under_policy() - before).abs().max()) > 1e-3


def test_adapters_are_on_and_trained_again_afterwards(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu", lora_rank=2))
    names = [name for name, _ in policy.trainable()]
    with adapters_off(policy.model):
        assert not policy.trainable()
    assert [name for name, _ in policy.trainable()] == names


def test_the_copy_of_a_reference_is_not_trained(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu", train_vision=True))
    reference = load_reference(str(tiny_folder), policy)
    assert not any(weight.requires_grad for weight in reference.parameters())
