"""The block row against a plain reference: one full forward pass of the model a response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from strive_rl.policy import Policy, Prompt, encode, load_policy, logprobs, with_features
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.schema import Completion, Group

TEMPERATURE = 0.9


def completion(ids: tuple[int, ...]) -> Completion:
    return Completion(ids=ids, logprobs=tuple(-0.5 * i for i in ids), text="", finished=True)


ANSWERS = [
    [completion((65, 66, 67, 256)), completion((70,)), completion((65, 66, 90, 91, 92))],
    [completion((80, 81)), completion((82, 83, 84)), completion((80, 256))],
]


def plain(policy: Policy, prompt: Prompt, answer: Completion, shift: int = 0) -> torch.Tensor:
    """Log-probabilities of one answer by one full forward, everything written out."""
    ids = np.concatenate([prompt.ids, answer.ids])
    start = int(prompt.positions.max()) + 1 + shift
    tail = np.tile(np.arange(start, start + len(answer.ids)), (3, 1))
    positions = np.concatenate([prompt.positions, tail], axis=1)
    output = policy.model(
        input_ids=torch.from_numpy(ids)[None],
        pixel_values_videos=prompt.pixels,
        video_grid_thw=torch.tensor([prompt.grid]),
        position_ids=torch.from_numpy(positions)[:, None],
        use_cache=False,
    )
    logits = output.logits[0, len(prompt.ids) - 1 : -1].masked_fill(policy.suppressed, -torch.inf)
    picked = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    return picked[torch.arange(len(answer.ids)), torch.tensor(answer.ids)]


@pytest.fixture(scope="module")
def prompts(tiny_policy: Policy, make_group: Callable[..., Group]) -> list[Prompt]:
    """Two prompts of different lengths, so that rows are padded."""
    group = make_group(times=((0.5, 1.0, 4.0, 9.5), (1.0, 2.0, 3.0, 4.0, 50.0, 61.0)))
    return encode(tiny_policy, group)


def test_log_probabilities_equal_the_reference(tiny_policy: Policy, prompts: list[Prompt]) -> None:
    with torch.no_grad():
        given = logprobs(tiny_policy, with_features(tiny_policy, prompts), ANSWERS, TEMPERATURE)
        flat = [(p, a) for p, answers in zip(prompts, ANSWERS, strict=True) for a in answers]
        assert given.shape == (6, 5)
        for row, (prompt, answer) in zip(given, flat, strict=True):
            expected = plain(tiny_policy, prompt, answer)
            torch.testing.assert_close(row[: len(answer.ids)], expected, rtol=0, atol=1e-4)
            assert (row[len(answer.ids) :] == 0).all()


def test_a_wrong_position_would_be_seen(tiny_policy: Policy, prompts: list[Prompt]) -> None:
    """Negative control: the reference with positions shifted by 3 differs by far more than the tolerance."""
    with torch.no_grad():
        right = plain(tiny_policy, prompts[0], ANSWERS[0][0])
        shifted = plain(tiny_policy, prompts[0], ANSWERS[0][0], shift=3)
    assert (right - shifted).abs().max() > 1e-2


def test_the_video_is_seen(tiny_policy: Policy, prompts: list[Prompt]) -> None:
    """Negative control: other pixels, other log-probabilities."""
    other = replace(prompts[0], pixels=-prompts[0].pixels)
    with torch.no_grad():
        given = logprobs(tiny_policy, [prompts[0], other], [ANSWERS[0], ANSWERS[0]], TEMPERATURE)
    assert (given[:3] - given[3:]).abs().max() > 1e-2


@pytest.mark.parametrize("train_vision", [False, True])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_gradients_equal_the_reference(
    tiny_policy: Policy, prompts: list[Prompt], train_vision: bool, gradient_checkpointing: bool
) -> None:
    settings = replace(
        tiny_policy.settings, train_vision=train_vision, gradient_checkpointing=gradient_checkpointing
    )
    policy = load_policy(tiny_policy.name, settings)
    weights = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    parameters = [parameter for _, parameter in policy.trainable()]
    given = logprobs(policy, with_features(policy, prompts), ANSWERS, TEMPERATURE)
    ours = torch.autograd.grad((given * weights).sum(), parameters, allow_unused=True)
    policy.model.eval()
    flat = [(p, a) for p, answers in zip(prompts, ANSWERS, strict=True) for a in answers]
    rows = [
        plain(policy, prompt, answer) @ w[: len(answer.ids)]
        for (prompt, answer), w in zip(flat, weights, strict=True)
    ]
    expected = torch.autograd.grad(torch.stack(rows).sum(), parameters, allow_unused=True)
    for one, other in zip(ours, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).norm() <= 1e-4 * other.norm() + 1e-9
    assert sum(one is not None for one in ours) >= len(ours) - 1


def test_masks_and_sampled_log_probabilities() -> None:
    answers = [completion((1, 2)), completion((4,))]
    assert mask(answers).tolist() == [[True, True], [True, False]]
    assert sampled_logprobs(answers).tolist() == [[-0.5, -1.0], [-2.0, 0.0]]
