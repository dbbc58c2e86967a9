"""The states of linear layers: what the prompt leaves for its completions, in sampling and in the update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, Sampling, encode, load_policy, logprobs, sample, with_features
from strive_rl.policy.architectures.linear_attention import Inputs, State, gated_delta
from strive_rl.policy.logprobs import sampled_logprobs
from strive_rl.schema import Completion
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import TINY_MODELS

ANSWER = [Completion(ids=(65, 66, 67, 68, 69), logprobs=(0.0,) * 5, text="", finished=True)] * 2


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = TINY_MODELS["qwen3_5"](tmp_path_factory.mktemp("qwen3_5"))
    return load_policy(str(folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="module")
def prompts(policy: Policy) -> list[Prompt]:
    group = make_group(times=((0.5, 9.5), (1.0, 2.0, 3600.0, 9000.5)), side=60)
    return with_features(policy, encode(policy, group))


def forgetting(name: str) -> Callable[[State, torch.Tensor], State]:
    """`State.of` without one half of the state."""
    whole = State.of

    def of(state: State, rows: torch.Tensor) -> State:
        kept = whole(state, rows)
        return kept._replace(**{name: torch.zeros_like(getattr(kept, name))})

    return of


@pytest.mark.parametrize("name", ["conv", "matrix"])
def test_completions_that_forget_their_prompt_would_be_seen(
    policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Negative controls of the comparison with transformers, in the update and in sampling."""
    sampling = Sampling(completions=1, max_new_tokens=8, greedy=True)
    with torch.no_grad():
        right = logprobs(policy, prompts, [ANSWER] * 2, 1.0)
        sampled = sample(policy, prompts, sampling)
        again = logprobs(policy, prompts, sampled, 1.0)
        torch.testing.assert_close(sampled_logprobs([row[0] for row in sampled]), again, rtol=0, atol=1e-4)
        monkeypatch.setattr(State, "of", forgetting(name))
        wrong = logprobs(policy, prompts, [ANSWER] * 2, 1.0)
        forgot = sample(policy, prompts, sampling)
    assert torch.equal(right[:, 0], wrong[:, 0])
    assert (right[:, 1:] - wrong[:, 1:]).abs().max() > 1e-2
    second = [sampled_logprobs([row[0] for row in rows])[:, 1] for rows in (sampled, forgot)]
    assert (second[0] - second[1]).abs().max() > 1e-2


def test_the_gradient_reaches_the_prompt_through_its_state(
    policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with the state detached, the gradient of the first layer is another one."""

    def gradient() -> torch.Tensor:
        weight = policy.model.model.language_model.layers[0].linear_attn.in_proj_qkv.weight
        (made,) = torch.autograd.grad(logprobs(policy, prompts, [ANSWER] * 2, 1.0).sum(), weight)
        return made

    right, whole = gradient(), State.of

    def detached(state: State, rows: torch.Tensor) -> State:
        return whole(State(conv=state.conv.detach(), matrix=state.matrix.detach()), rows)

    monkeypatch.setattr(State, "of", detached)
    assert (gradient() - right).norm() > 1e-2 * right.norm()


def test_padding_changes_no_state(policy: Policy) -> None:
    """Three and seven tokens in one batch, against each alone; the convolution's inputs are the last ones."""
    mixer = policy.model.model.language_model.layers[0].linear_attn
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    packed = Inputs(mixed=drawn(1, 10, 64), beta=drawn(1, 10, 4).sigmoid(), decay=-drawn(1, 10, 4).exp())
    grid = torch.tensor([[0, 1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8, 9]])
    valid = torch.tensor([[True] * 3 + [False] * 4, [True] * 7])

    def read(rows: Any) -> tuple[torch.Tensor, State]:
        some = packed.at(grid[rows], valid[rows])
        return gated_delta(mixer, some, lengths_B=valid[rows].sum(dim=1))

    out, state = read(slice(0, 2))
    for row, length in ((0, 3), (1, 7)):
        columns = slice(row, row + 1), slice(0, length)
        alone = Inputs(*(each[0][grid[columns]] for each in packed))
        expected, after = gated_delta(mixer, alone)
        torch.testing.assert_close(out[row, :length], expected[0])
        torch.testing.assert_close(state.matrix[row], after.matrix[0])
        assert torch.equal(state.conv[row], alone.mixed[0, length - 3 :])
