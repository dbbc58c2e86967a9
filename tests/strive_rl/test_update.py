"""One optimizer step: which questions teach, that passes add up, and that it stops on what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_data.errors import StriveError
from strive_rl.advantage import advantages
from strive_rl.config import AlgorithmSettings, OptimSettings, PolicySettings
from strive_rl.optimizer import Optimizer
from strive_rl.policy import Policy, Sampling, load_policy
from strive_rl.rollout import Encoded, encode_groups, reward_grid, rewarded, roll_out
from strive_rl.schema import Completion, Group, Rollout
from strive_rl.update import UpdateStats, lessons, update

ALGORITHM = AlgorithmSettings()
TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))
TEMPERATURE = 4.0


@pytest.fixture
def policy(tiny_folder: Path, answering: Callable[[Policy], Policy]) -> Policy:
    return answering(load_policy(str(tiny_folder), PolicySettings(device="cpu")))


@pytest.fixture
def rolled(policy: Policy, make_group: Callable[..., Group]) -> tuple[list[Rollout], Encoded]:
    encoded = encode_groups(policy, [make_group(f"q{i}", TWO_VIEWS, seed=i) for i in range(4)])
    sampling = Sampling(completions=4, max_new_tokens=5, temperature=TEMPERATURE)
    return roll_out(policy, encoded, sampling, torch.Generator().manual_seed(1)), encoded


def stepped(policy: Policy, rolled: tuple[list[Rollout], Encoded], *, lr: float = 1e-3) -> UpdateStats:
    rollouts, encoded = rolled
    optimizer = Optimizer(policy.trainable(), OptimSettings(lr=lr))
    taught = lessons(rollouts, encoded.prompts, ALGORITHM)
    return update(policy, optimizer, taught, ALGORITHM, temperature=TEMPERATURE, learning_rate=lr, step=1)


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}


def test_only_questions_whose_accuracy_differs_teach(make_group: Callable[..., Group]) -> None:
    right, formed, wrong = (
        Completion(ids=(1,), logprobs=(0.0,), text=text, finished=True)
        for text in ("<answer>A</answer>", "<think>a</think><answer>A</answer>", "<answer>B</answer>")
    )
    mixed = rewarded(make_group("mixed", TWO_VIEWS), ((right, wrong), (right, right)))
    equal = rewarded(make_group("equal", TWO_VIEWS), ((right, formed), (right, right)))
    (lesson,) = lessons([equal, mixed], [(), ()], ALGORITHM)
    assert lesson.rollout is mixed
    expected = advantages(reward_grid(mixed), normalise="joint", divide_by_std=True)
    np.testing.assert_array_equal(lesson.advantages, expected)
    np.testing.assert_allclose(lesson.advantages, [[0.577, -1.731], [0.577, 0.577]], atol=1e-3)


def test_a_step_raises_the_chance_of_good_answers(
    policy: Policy, rolled: tuple[list[Rollout], Encoded]
) -> None:
    """The surrogate at the new weights: the sum of advantage × log-ratio must have grown."""
    first = stepped(policy, rolled, lr=1e-3)
    assert first.tokens > 0
    assert first.ratio == pytest.approx(1.0, abs=1e-4)
    assert first.logprob_gap < 1e-4
    assert first.kl == pytest.approx(0.0, abs=1e-6)
    assert first.grad_norm > 0
    second = stepped(policy, rolled, lr=1e-3)
    assert second.loss < first.loss
    assert second.kl > 1e-6


def test_passes_of_any_size_take_the_same_step(
    tiny_folder: Path, answering: Callable[[Policy], Policy], rolled: tuple[list[Rollout], Encoded]
) -> None:
    results = []
    for size in (1, 3, 8):
        settings = PolicySettings(device="cpu", groups_per_pass=size)
        policy = answering(load_policy(str(tiny_folder), settings))
        stats = stepped(policy, rolled)
        results.append((stats, weights(policy)))
    for stats, moved in results[1:]:
        assert stats.loss == pytest.approx(results[0][0].loss, rel=1e-4, abs=1e-6)
        assert stats.grad_norm == pytest.approx(results[0][0].grad_norm, rel=1e-4)
        assert stats.tokens == results[0][0].tokens
        for name, value in moved.items():
            torch.testing.assert_close(value, results[0][1][name], atol=2e-4, rtol=0)


def test_only_trainable_weights_move(policy: Policy, rolled: tuple[list[Rollout], Encoded]) -> None:
    before = weights(policy)
    stepped(policy, rolled)
    moved = {name for name, value in weights(policy).items() if not torch.equal(value, before[name])}
    assert any("layers.0.self_attn" in name for name in moved)
    assert not [name for name in moved if ".visual." in name]


def test_with_nothing_to_learn_nothing_moves(policy: Policy, rolled: tuple[list[Rollout], Encoded]) -> None:
    before = weights(policy)
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    stats = update(policy, optimizer, [], ALGORITHM, temperature=1.0, learning_rate=1.0, step=1)
    assert stats.tokens == 0
    assert np.isnan(stats.loss)
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())


def test_a_loss_that_is_not_finite_stops_with_step_and_questions(
    policy: Policy, rolled: tuple[list[Rollout], Encoded]
) -> None:
    rollouts, encoded = rolled
    taught = lessons(rollouts, encoded.prompts, ALGORITHM)
    broken = [replace(taught[0], advantages=np.full((2, 4), np.inf))]
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    before = weights(policy)
    name = taught[0].rollout.group.question.sample_id
    with pytest.raises(StriveError, match=rf"step 7: the loss is .*questions of this pass: {name}$"):
        update(policy, optimizer, broken, ALGORITHM, temperature=TEMPERATURE, learning_rate=1.0, step=7)
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())
