"""The updates of a step: that passes and parts add up, what each setting learns, and what stops it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strive_data.errors import StriveError
from strive_rl.algorithm.loss import policy_loss
from strive_rl.config import AlgorithmSettings, OptimSettings, PolicySettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.rollout.groups import learned
from strive_rl.schema import Group
from strive_rl.train.metrics import update_means
from strive_rl.train.optimizer import Optimizer
from strive_rl.train.trainer import with_advantages
from strive_rl.train.update import (
    Pass,
    load_reference,
    split,
    token_batch,
    update,
)
from tests.strive_rl.made.models import answering
from tests.strive_rl.made.rollouts import TEMPERATURE, learned_of, rolled_out

ALGORITHM = AlgorithmSettings()
SEEN = {"loss", "ratio", "clipped", "kl", "logprob_gap", "logprob_gap_mean", "grad_norm"}


@pytest.fixture
def policy(tiny_folder: Path) -> Policy:
    return answering(load_policy(str(tiny_folder), PolicySettings(device="cpu")))


@pytest.fixture(scope="module")
def groups(tiny_policy: Policy) -> list[Group]:
    return rolled_out(answering(tiny_policy))


def stepped(
    policy: Policy,
    groups: list[Group],
    settings: AlgorithmSettings = ALGORITHM,
    *,
    lr: float = 1e-3,
    **extra: Any,
) -> dict[str, Any]:
    optimizer = Optimizer(policy.trainable(), OptimSettings(lr=lr))
    cut = learned_of(groups, settings)
    options = {"temperature": TEMPERATURE, "learning_rate": lr, "step": 1} | extra
    return update_means([update(policy, optimizer, cut, settings, **options)])


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}


def test_a_step_raises_the_chance_of_good_answers(policy: Policy, groups: list[Group]) -> None:
    """The surrogate at the new weights: the sum of advantage × ratio must have grown."""
    by_rollout = replace(ALGORITHM, old_logprobs="rollout")
    first = stepped(policy, groups, by_rollout)
    assert first["update_tokens"] > 0
    assert first["ratio"] == pytest.approx(1.0, abs=1e-4)
    assert first["logprob_gap"] < 1e-4
    assert first["kl"] == pytest.approx(0.0, abs=1e-6)
    assert first["grad_norm"] > 0
    second = stepped(policy, groups, by_rollout)
    assert second["loss"] < first["loss"]
    assert second["kl"] > 1e-6


def test_one_update_is_on_policy_to_the_bit(policy: Policy, groups: list[Group]) -> None:
    stats = stepped(policy, groups)
    assert (stats["ratio"], stats["kl"], stats["clipped"], stats["updates"]) == (1, 0, 0, 1)
    assert 0 < stats["logprob_gap"] < 1e-4
    shown = {name for name, value in stats.items() if value is not None}
    assert shown - {"update_tokens", "updates"} == SEEN


def test_passes_of_any_size_take_the_same_step(tiny_folder: Path, groups: list[Group]) -> None:
    results = []
    for size in (1, 3, 8):
        settings = PolicySettings(device="cpu", groups_per_pass=size)
        policy = answering(load_policy(str(tiny_folder), settings))
        stats = stepped(policy, groups)
        results.append((stats, weights(policy)))
    for stats, moved in results[1:]:
        assert stats["loss"] == pytest.approx(results[0][0]["loss"], rel=1e-4, abs=1e-6)
        assert stats["grad_norm"] == pytest.approx(results[0][0]["grad_norm"], rel=1e-4)
        assert stats["update_tokens"] == results[0][0]["update_tokens"]
        for name, value in moved.items():
            torch.testing.assert_close(value, results[0][1][name], atol=2e-4, rtol=0)


def counts(cut: list[Group]) -> dict[str, int]:
    """Completions and tokens of an optimizer step over these groups."""
    return {
        "completions": sum(group.advantages.size for group in cut),
        "tokens": sum(group.tokens for group in cut),
    }


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "gspo"])
def test_passes_and_processes_add_up_to_the_gradient_of_the_whole(
    policy: Policy, groups: list[Group], loss: Any
) -> None:
    """To 1e-6 in float64 on the weights: groups in one pass or cut anywhere, by the counts of the whole."""
    double = replace(policy, model=policy.model.double())
    settings = replace(ALGORITHM, loss=loss, loss_constant_tokens=8, clip_low=None)
    cut = learned_of(groups, settings)
    whole = gradient(double, cut, settings, **counts(cut))
    scale = float(whole.abs().max())
    assert scale > 0
    each = [cut[i : i + 1] for i in range(len(cut))]
    for pieces in (each, [cut[:1], cut[1:]]):
        parts = sum(gradient(double, part, settings, **counts(cut)) for part in pieces)
        assert float((parts - whole).abs().max()) < 1e-6 * scale
    # The control: with its own counts alone a part does not add up.
    wrong = sum(gradient(double, part, settings, **counts(part)) for part in (cut[:1], cut[1:]))
    assert float((wrong - whole).abs().max()) > 0.1 * scale


def gradient(policy: Policy, cut: list[Group], settings: AlgorithmSettings, **counted: int) -> torch.Tensor:
    """Gradient of the loss of these groups with respect to all weights, as one vector."""
    policy.model.zero_grad()
    policy_loss(token_batch(policy, Pass(groups=cut), settings, TEMPERATURE), settings, **counted)[
        0
    ].backward()
    return torch.cat([w.grad.flatten() for _, w in policy.trainable() if w.grad is not None])


def test_only_trainable_weights_move(policy: Policy, groups: list[Group]) -> None:
    before = weights(policy)
    stepped(policy, groups)
    moved = {name for name, value in weights(policy).items() if not torch.equal(value, before[name])}
    assert any("layers.0.self_attn" in name for name in moved)
    assert not [name for name in moved if ".visual." in name]


def test_several_updates_measure_ratios_from_the_first_policy(policy: Policy, groups: list[Group]) -> None:
    settings = replace(ALGORITHM, epochs_per_rollout=3, minibatches=2)
    cut = learned_of(groups, settings)
    stats = stepped(policy, groups, settings, lr=3e-3)
    assert stats["updates"] == 6
    assert stats["update_tokens"] == 3 * sum(group.tokens for group in cut)
    assert stats["kl"] > 1e-6
    assert stats["ratio"] != 1
    assert stats["logprob_gap"] < 1e-4


def test_minibatches_are_the_steps_they_would_be_alone(tiny_folder: Path, groups: list[Group]) -> None:
    """Two minibatches are two optimizer steps on halves of the questions, one after the other."""
    together, apart = (
        answering(load_policy(str(tiny_folder), PolicySettings(device="cpu"))) for _ in range(2)
    )
    settings = replace(ALGORITHM, minibatches=2, old_logprobs="rollout")
    stepped(together, groups, settings)
    cut = learned_of(groups, settings)
    optimizer = Optimizer(apart.trainable(), OptimSettings(lr=1e-3))
    for half in (cut[: len(cut) // 2], cut[len(cut) // 2 :]):
        one = replace(settings, minibatches=1)
        update(apart, optimizer, half, one, temperature=TEMPERATURE, learning_rate=1e-3, step=1)
    assert all(torch.equal(value, weights(apart)[name]) for name, value in weights(together).items())


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [5]), (2, [2, 3]), (3, [1, 2, 2]), (5, [1] * 5), (9, [1] * 5)]
)
def test_parts_are_as_equal_as_can_be(count: int, sizes: list[int]) -> None:
    items: list[Any] = list(range(5))
    parts = split(items, count, held=[5])
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == items
    # However the five lie on three processes, these take their shares of the same parts.
    for held in ([2, 0, 3], [5, 0, 0], [1, 3, 1]):
        ends = [0, held[0], held[0] + held[1], 5]
        shares = [split(items[ends[rank] : ends[rank + 1]], count, held, rank) for rank in range(3)]
        assert [[*a, *b, *c] for a, b, c in zip(*shares, strict=True)] == parts


def test_a_divergence_pulls_back_to_the_reference(tiny_folder: Path, groups: list[Group]) -> None:
    """Ten steps on the same answers: with a strong pull the policy ends nearer to where it began."""
    ends = {}
    for beta in (0.0, 5.0):
        policy = answering(load_policy(str(tiny_folder), PolicySettings(device="cpu")))
        reference = load_reference(str(tiny_folder), policy) if beta else None
        settings = replace(ALGORITHM, kl_beta=beta, old_logprobs="rollout", epochs_per_rollout=10)
        stats = stepped(policy, groups, settings, reference=reference)
        assert (stats["reference_kl"] is None) == (beta == 0)
        ends[beta] = stepped(policy, groups, replace(ALGORITHM, old_logprobs="rollout"), lr=1e-9)["kl"]
    assert ends[5.0] < 0.5 * ends[0.0]


def test_a_cap_corrects_for_another_engine(policy: Policy, groups: list[Group]) -> None:
    """Rollouts that claim half their true chance a token: weights of 2, and of 1.5 under a cap of 1.5."""
    off = [replace(g, completions=tuple(tuple(map(halved, row)) for row in g.completions)) for g in groups]
    before = weights(policy)
    for cap, weight in ((10.0, 2.0), (1.5, 1.5)):
        settings = replace(ALGORITHM, importance_cap=cap)
        stats = stepped(policy, off, settings, lr=1e-12)
        assert stats["importance"] == pytest.approx(weight, abs=1e-4)
        assert stats["capped"] == (cap < 2)
        assert stats["ratio"] == 1
        assert stats["logprob_gap"] == pytest.approx(np.log(2), abs=1e-3)
    assert all(torch.allclose(value, before[name], atol=1e-9) for name, value in weights(policy).items())


def halved(completion: Any) -> Any:
    return replace(completion, logprobs=tuple(value - math.log(2) for value in completion.logprobs))


def test_each_completion_is_learned_under_its_own_variant(policy: Policy, groups: list[Group]) -> None:
    """Loss and gradient from single forwards, one completion under one prompt at a time."""
    cut = learned_of(groups, ALGORITHM)
    batch = token_batch(policy, Pass(groups=cut), ALGORITHM, TEMPERATURE)
    loss, _ = policy_loss(batch, ALGORITHM, **counts(cut))
    loss.backward()
    ours = {name: weight.grad.clone() for name, weight in policy.trainable() if weight.grad is not None}
    policy.model.zero_grad()
    plain_backward(policy, groups)
    for name, weight in policy.trainable():
        if weight.grad is not None:
            torch.testing.assert_close(ours[name], weight.grad, atol=2e-5, rtol=1e-3)


def plain_backward(policy: Policy, groups: list[Group]) -> None:
    """Gradient of −(1/N)Σ A·mean_t log π(token | prompt), GRPO's on-policy gradient, term by term."""
    terms = []
    for group in with_advantages(groups, ALGORITHM):
        if not learned(group, ALGORITHM).any():
            continue
        for m, row in enumerate(group.completions):
            for g, completion in enumerate(row):
                mean = logprobs(policy, [group.prompts[m]], [[completion]], TEMPERATURE).mean()
                terms.append(-float(group.advantages[m, g]) * mean)
    (torch.stack(terms).sum() / len(terms)).backward()


def test_with_nothing_to_learn_nothing_moves(policy: Policy) -> None:
    before = weights(policy)
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    assert update(policy, optimizer, [], ALGORITHM, temperature=1.0, learning_rate=1.0, step=1) == {}
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())


def test_a_loss_that_is_not_finite_stops_with_step_and_questions(policy: Policy, groups: list[Group]) -> None:
    cut = learned_of(groups, ALGORITHM)
    broken = [replace(cut[0], advantages=np.full(8, np.inf))]
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    before = weights(policy)
    name = cut[0].question.sample_id
    with pytest.raises(StriveError, match=rf"step 7: the loss is .*questions of this pass: {name}$"):
        update(policy, optimizer, broken, ALGORITHM, temperature=TEMPERATURE, learning_rate=1.0, step=7)
    assert all(torch.equal(value, before[name]) for name, value in weights(policy).items())


def test_a_later_update_that_is_not_finite_is_named(policy: Policy, groups: list[Group]) -> None:
    """Only the second minibatch is broken: the weights are those after the first."""
    settings = replace(ALGORITHM, minibatches=2)
    first, second = learned_of(groups, settings)[:2]
    broken = [first, replace(second, advantages=np.full(8, np.inf))]
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    before = weights(policy)
    with pytest.raises(
        StriveError, match=rf"step 7, update 2 of 2: the loss is .*: {second.question.sample_id}$"
    ):
        update(policy, optimizer, broken, settings, temperature=TEMPERATURE, learning_rate=1e-3, step=7)
    after = weights(policy)
    assert not all(torch.equal(value, before[name]) for name, value in after.items())
    assert all(bool(value.isfinite().all()) for value in after.values())
