"""What an update holds fixed, and what that costs in forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strive_rl.config import AlgorithmSettings, PolicySettings
from strive_rl.policy import Policy, Prompt, load_policy, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.rollout.builtin import Encoded, encode_groups, rewarded
from strive_rl.schema import Completion, Group
from strive_rl.train.examples import conditioned, fixed_logprobs, make_dummy_example, make_examples
from strive_rl.train.reference import Reference, load_reference
from tests.strive_rl.made_rollouts import TEMPERATURE, Rolled, rolled_out, taught_by
from tests.strive_rl.tiny_models import TINY_MODELS

TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))


def said(text: str, tokens: int = 1) -> Completion:
    return Completion(ids=(1,) * tokens, logprobs=(0.0,) * tokens, text=text, finished=True)


RIGHT, WRONG = said("<answer>A</answer>", 2), said("<answer>B</answer>")
FORMED = said("<think>a</think><answer>A</answer>")
GRID = ((RIGHT, WRONG), (RIGHT, FORMED))


@pytest.fixture(scope="module")
def encoded(tiny_policy: Policy, make_group: Callable[..., Group]) -> Encoded:
    group = make_group("q", TWO_VIEWS)
    return encode_groups(tiny_policy, [replace(group, clean=make_group(seed=9).views[0])])


def test_only_questions_whose_accuracy_differs_teach(make_group: Callable[..., Group]) -> None:
    mixed = rewarded(make_group("mixed", TWO_VIEWS), ((RIGHT, WRONG), (RIGHT, RIGHT)))
    equal = rewarded(make_group("equal", TWO_VIEWS), ((RIGHT, FORMED), (RIGHT, RIGHT)))
    grids = [np.full((2, 2), 7.0), np.array([[0.0, 1.0], [2.0, 3.0]])]
    both = Encoded(groups=(equal.group, mixed.group), prompts=((), ()))
    (lesson,) = make_examples([equal, mixed], both, grids)
    assert (lesson.sample_id, lesson.tokens) == ("mixed", 7)
    assert lesson.advantages.tolist() == [0, 1, 2, 3]
    assert lesson.responses == mixed.completions


def test_own_keeps_each_response_with_its_variant(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "own")
    assert (prompts, responses, order.tolist()) == (encoded.prompts[0], GRID, [0, 1, 2, 3])


def test_clean_puts_all_under_the_uniform_view(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "clean")
    assert prompts == (encoded.clean[0],)
    assert responses == ((RIGHT, WRONG, RIGHT, FORMED),)
    assert order.tolist() == [0, 1, 2, 3]


def test_cross_puts_all_under_every_variant(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "cross")
    assert prompts == encoded.prompts[0]
    assert responses == ((RIGHT, WRONG, RIGHT, FORMED),) * 2
    assert order.tolist() == [0, 1, 2, 3] * 2


def test_clean_without_a_uniform_view_is_refused(encoded: Encoded) -> None:
    own: tuple[Prompt, ...] = encoded.prompts[0]
    with pytest.raises(ValueError, match="no uniform view"):
        conditioned(own, None, GRID, "clean")


def test_the_lesson_of_a_condition(encoded: Encoded) -> None:
    rollout = rewarded(encoded.groups[0], GRID)
    (lesson,) = make_examples([rollout], encoded, [np.array([[1.0, 2.0], [3.0, 4.0]])], "cross")
    assert lesson.advantages.tolist() == [1, 2, 3, 4] * 2
    assert lesson.tokens == 12


def test_truncated_responses_are_left_out_and_their_prompts_with_them(
    make_group: Callable[..., Group], encoded: Encoded
) -> None:
    cut = replace(WRONG, finished=False)
    rollout = rewarded(make_group("q", TWO_VIEWS), ((cut, RIGHT), (cut, cut)))
    grid = np.array([[0.0, 1.0], [2.0, 3.0]])
    (whole,) = make_examples([rollout], encoded, [grid])
    assert whole.tokens == 5
    (lesson,) = make_examples([rollout], encoded, [grid], mask_truncated=True)
    assert lesson.prompts == encoded.prompts[0][:1]
    assert lesson.responses == ((RIGHT,),)
    np.testing.assert_array_equal(lesson.advantages, [1.0])
    (lesson,) = make_examples([rollout], encoded, [grid], "cross", mask_truncated=True)
    assert lesson.responses == ((RIGHT,), (RIGHT,))
    np.testing.assert_array_equal(lesson.advantages, [1.0, 1.0])
    right_but_cut = replace(RIGHT, finished=False)
    nothing = rewarded(make_group("q", TWO_VIEWS), ((cut, right_but_cut), (cut, cut)))
    assert make_examples([nothing], encoded, [grid], mask_truncated=True) == []


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
    filler = make_dummy_example(policy)
    assert (filler.tokens, len(filler.prompts)) == (2, 1)
    assert (filler.prompts[0].features is None) == train_vision
    (logprobs(policy, filler.prompts, filler.responses, 1.0).sum() * 0.0).backward()
    for name, weight in policy.trainable():
        assert weight.grad is not None, name
        assert not weight.grad.any(), name


def test_the_limit_of_prompts_stays_for_others(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    small = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1))
    assert make_dummy_example(small).tokens == 2
    assert small.settings.max_prompt_tokens == 1


@pytest.fixture(scope="module")
def policy(tiny_folder: Path, answering: Callable[[Policy], Policy]) -> Policy:
    settings = PolicySettings(device="cpu", groups_per_pass=2)
    return answering(load_policy(str(tiny_folder), settings))


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Reference:
    return load_reference(str(tiny_folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="module")
def rolled(policy: Policy, make_group: Callable[..., Group]) -> Rolled:
    return rolled_out(policy, make_group)


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
    policy: Policy, reference: Reference, rolled: Rolled, changes: dict[str, Any], old: int, kl: int
) -> None:
    settings = AlgorithmSettings(**changes)
    taught = taught_by(rolled, settings)
    passes = -(-len(taught) // 2)

    def made() -> None:
        fixed = fixed_logprobs(policy, taught, settings, reference, TEMPERATURE)
        assert all((each.old is not None, each.reference is not None) == (old, kl) for each in fixed)

    assert forwards(policy.model, made) == old * passes
    assert forwards(reference.model, made) == kl * passes


def test_each_lesson_gets_its_own_tokens(policy: Policy, reference: Reference, rolled: Rolled) -> None:
    settings = AlgorithmSettings(kl_beta=0.1, minibatches=2)
    taught = taught_by(rolled, settings)
    fixed = fixed_logprobs(policy, taught, settings, reference, TEMPERATURE)
    for lesson, anchor in zip(taught, fixed, strict=True):
        alone = logprobs(policy, lesson.prompts, lesson.responses, TEMPERATURE).detach()
        expected = alone[mask([response for row in lesson.responses for response in row])]
        assert anchor.old is not None
        assert len(anchor.old) == lesson.tokens
        torch.testing.assert_close(anchor.old, expected, atol=1e-5, rtol=0)
        # The reference is the same model here, as nothing was learned yet.
        assert anchor.reference is not None
        torch.testing.assert_close(anchor.reference, expected, atol=1e-5, rtol=0)


def test_a_divergence_needs_a_reference(policy: Policy, rolled: Rolled) -> None:
    settings = AlgorithmSettings(kl_beta=0.1)
    with pytest.raises(ValueError, match="without a reference"):
        fixed_logprobs(policy, taught_by(rolled, settings), settings, None, TEMPERATURE)


def test_passes_of_any_size_give_the_same(policy: Policy, rolled: Rolled) -> None:
    settings = AlgorithmSettings(minibatches=2)
    taught = taught_by(rolled, settings)
    one = replace(policy, settings=replace(policy.settings, groups_per_pass=1))
    for mine, theirs in zip(
        fixed_logprobs(policy, taught, settings, None, TEMPERATURE),
        fixed_logprobs(one, taught, settings, None, TEMPERATURE),
        strict=True,
    ):
        assert mine.old is not None
        assert theirs.old is not None
        torch.testing.assert_close(mine.old, theirs.old, atol=1e-5, rtol=0)
