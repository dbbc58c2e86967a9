"""What training checks of an engine with its own weights: that they are the newest, what it samples from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_data.errors import StriveError
from strive_rl.common import jsonl
from strive_rl.config import (
    ENGINE_CAP,
    AlgorithmSettings,
    DataSettings,
    OptimSettings,
    PolicySettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.policy import Policy, Prompt, RngKey, Sampling, sample
from strive_rl.schema import Completion
from strive_rl.train.state import TrainState
from strive_rl.train.trainer import fit
from tests.strive_rl.train.conftest import RunOf, quiet

STEPS = 2


class OtherEngine:
    """The policy's own loop behind the protocol; its log-probabilities are off by `offset` nats, and it takes
    the weights of `syncs` steps."""

    def __init__(self, policy: Policy, *, offset: float = 0.0, syncs: int = STEPS) -> None:
        self.version = -1
        self.calls: list[str] = []
        self._policy, self._offset, self._syncs = policy, offset, syncs

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        own = dict(self._policy.model.named_parameters())
        newest = all(torch.equal(tensor, own[name]) for name, tensor in weights if name in own)
        self.calls.append(f"sync {version}: {newest}")
        if version < self._syncs:
            self.version = version

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
    ) -> list[list[Completion]]:
        self.calls.append("sample")
        rows = sample(self._policy, prompts, sampling, keys)
        return [[self._shifted(each) for each in row] for row in rows]

    def _shifted(self, made: Completion) -> Completion:
        return replace(made, logprobs=tuple(value + self._offset for value in made.logprobs), entropies=())

    def sleep(self) -> None:
        self.calls.append("sleep")

    def wake(self) -> None:
        self.calls.append("wake")


@pytest.fixture
def begin(tmp_path: Path, run_of: RunOf) -> RunOf:
    """A run of two steps with such an engine."""

    def made(**options: Any) -> TrainState:
        settings = TrainSettings(
            data=DataSettings(questions_per_step=4),
            policy=PolicySettings(device="cpu"),
            rollout=RolloutSettings(completions=4, max_new_tokens=3, temperature=2.0),
            algorithm=AlgorithmSettings(importance_cap=ENGINE_CAP),
            optim=OptimSettings(lr=1e-3),
            steps=STEPS,
        )
        run = run_of(tmp_path / "out", settings)
        run.engine = OtherEngine(run.policy, **options)
        return run

    return made


def test_a_gap_below_the_bar_is_corrected_and_trains_on(begin: RunOf) -> None:
    run = begin(offset=-0.05)
    fit(run, quiet)
    assert run.engine.calls == [
        call for step in range(STEPS) for call in ("wake", f"sync {step}: True", "sample", "sleep")
    ]
    learned = [r for r in jsonl.read(run.out / "metrics.jsonl") if r["update_tokens"]]
    assert learned
    assert [record["logprob_gap_mean"] for record in learned] == pytest.approx(
        [0.05] * len(learned), abs=1e-3
    )
    assert [record["importance"] for record in learned] == pytest.approx([1.0513] * len(learned), abs=1e-3)


@pytest.mark.parametrize("offset", [0.2, -0.2])
def test_another_distribution_stops_the_run_at_its_first_update(begin: RunOf, offset: float) -> None:
    run = begin(offset=offset)
    with pytest.raises(StriveError, match=r"^step \d: rollout\.engine=.*0\.2 nats a token.*most 0\.1"):
        fit(run, quiet)
    records = jsonl.read(run.out / "metrics.jsonl")
    assert [bool(record["update_tokens"]) for record in records] == [False] * (len(records) - 1) + [True]


def test_weights_of_another_step_stop_the_run(begin: RunOf) -> None:
    run = begin(syncs=1)
    with pytest.raises(StriveError, match=r"after step 1: the engine sampled with the weights of step 0"):
        fit(run, quiet)
    assert len(jsonl.read(run.out / "metrics.jsonl")) == 1
