"""What settings stand for, and those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from strive_data.common.settings import as_dict, load
from strive_data.errors import SettingsError
from strive_rl.config import (
    AlgorithmSettings,
    DataSettings,
    OptimSettings,
    RewardSettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.eval.config import EvalSettings


@pytest.mark.parametrize(
    ("loss", "clip"),
    [("grpo", (0.2, 0.2)), ("dr_grpo", (0.2, 0.2)), ("dapo", (0.2, 0.28)), ("gspo", (3e-4, 4e-4))],
)
def test_a_loss_brings_its_published_clip(loss: Any, clip: tuple[float, float]) -> None:
    assert AlgorithmSettings(loss=loss).clip == clip
    assert AlgorithmSettings(loss=loss, clip_high=0.5).clip == (clip[0], 0.5)


def test_the_defaults_cost_one_update_and_no_second_model() -> None:
    default = AlgorithmSettings()
    assert (default.kl_beta, default.importance_cap) == (0, None)
    assert default.epochs_per_rollout * default.minibatches == 1
    assert (default.normalise, default.by_std) == ("joint", True)


@pytest.mark.parametrize(
    ("section", "changes", "says"),
    [
        (AlgorithmSettings, {"minibatches": 0}, "algorithm.minibatches: got 0"),
        (AlgorithmSettings, {"epochs_per_rollout": 0}, "algorithm.epochs_per_rollout: got 0"),
        (AlgorithmSettings, {"loss_constant_tokens": 0}, "algorithm.loss_constant_tokens: got 0"),
        (AlgorithmSettings, {"clip_low": 1.0}, "algorithm.clip_low: got 1.0"),
        (AlgorithmSettings, {"clip_high": -0.1}, "algorithm.clip_high: got -0.1"),
        (AlgorithmSettings, {"kl_beta": -1.0}, "algorithm.kl_beta: got -1.0"),
        (AlgorithmSettings, {"importance_cap": 0.0}, "algorithm.importance_cap: got 0.0"),
        (AlgorithmSettings, {"importance_cap": 2.0, "old_logprobs": "rollout"}, "old_logprobs=trainer"),
        (OptimSettings, {"lr": 0.0}, "optim.lr"),
        (OptimSettings, {"lr": 1e-6, "final_lr": 1e-5}, "optim.final_lr: got 1e-05, .* optim.lr"),
        (OptimSettings, {"decay_steps": 0}, "optim.decay_steps: got 0"),
        (OptimSettings, {"warmup_steps": -1}, "optim.warmup_steps: got -1"),
        (OptimSettings, {"betas": (0.9,)}, "optim.betas"),
        (OptimSettings, {"betas": (-1.0, 0.9)}, r"optim.betas: got \[-1.0, 0.9\]"),
        (OptimSettings, {"weight_decay": -0.1}, "optim.weight_decay: got -0.1"),
        (OptimSettings, {"max_grad_norm": 0.0}, "optim.max_grad_norm: got 0.0"),
    ],
)
def test_sections_that_cannot_be(section: type, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        section(**changes)


def test_from_the_command_line_and_back() -> None:
    assignments = [
        "algorithm.loss=gspo",
        "algorithm.kl_beta=0.04",
        "algorithm.importance_cap=2",
        "reward.weights.accuracy=0.8",
        "reward.weights.format=0.1",
        "reward.weights.custom=0.1",
        "reward.function=my.rewards:brief",
    ]
    settings = load(TrainSettings, assignments=assignments)
    assert settings.algorithm == AlgorithmSettings(loss="gspo", kl_beta=0.04, importance_cap=2.0)
    weights = {"accuracy": 0.8, "format": 0.1, "custom": 0.1}
    assert settings.reward == RewardSettings(weights=weights, function="my.rewards:brief")
    written = as_dict(settings)["reward"]
    assert (written["weights"], written["function"]) == (weights, "my.rewards:brief")


def test_none_can_be_said_on_the_command_line() -> None:
    assert load(TrainSettings, assignments=["algorithm.importance_cap=none"]).algorithm.importance_cap is None


@pytest.mark.parametrize(
    ("assignments", "cap"),
    [
        ((), None),
        (("rollout.engine=vllm",), 2.0),
        (("rollout.engine=vllm", "algorithm.importance_cap=3"), 3.0),
    ],
)
def test_another_engine_is_corrected_by_default(assignments: tuple[str, ...], cap: float | None) -> None:
    assert load(TrainSettings, assignments=list(assignments)).algorithm.importance_cap == cap


def test_another_engine_needs_the_trainers_log_probabilities() -> None:
    both = ["rollout.engine=vllm", "algorithm.old_logprobs=rollout"]
    with pytest.raises(SettingsError, match=r"algorithm\.old_logprobs: got rollout, expected trainer"):
        load(TrainSettings, assignments=both)


@pytest.mark.parametrize("temperature", [0.001, 2.5])
def test_a_temperature_that_vllm_would_change_or_refuse_is_refused(temperature: float) -> None:
    wrong = [f"temperature={temperature}", "engine=vllm"]
    with pytest.raises(SettingsError, match=rf"^temperature: got {temperature}, expected \.01 to 2"):
        load(EvalSettings, assignments=wrong)
    with pytest.raises(SettingsError, match=r"rollout\.temperature: .* with rollout\.engine=vllm"):
        load(TrainSettings, assignments=[f"rollout.{each}" for each in wrong])
    assert load(EvalSettings, assignments=["engine=vllm"]).temperature == 0
    assert load(EvalSettings, assignments=wrong[:1]).temperature == temperature


@pytest.mark.parametrize(
    ("variants", "completions", "normalise", "fits"),
    [
        (1, 1, "joint", False),
        (2, 1, "joint", True),
        (1, 2, "joint", True),
        (2, 1, "per_variant", False),
        (2, 2, "per_variant", True),
    ],
)
def test_groups_in_which_nothing_can_differ_are_refused(
    variants: int, completions: int, normalise: Any, fits: bool
) -> None:
    given: dict[str, Any] = {
        "data": DataSettings(variants=variants),
        "rollout": RolloutSettings(completions=completions),
        "algorithm": AlgorithmSettings(normalise=normalise),
    }
    if fits:
        TrainSettings(**given)
        return
    with pytest.raises(SettingsError, match="every advantage is 0; expected at least 2"):
        TrainSettings(**given)
