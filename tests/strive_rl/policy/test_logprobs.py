"""The shared row against a plain reference: one full forward pass of transformers' own model a response.

The reference is a second copy of the model with eager attention, so that nothing of ours is in it but the
position ids, which it is given; those have tests of their own. Times are hours, so that positions are large.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import (
    Policy,
    Prompt,
    RngKey,
    Sampling,
    encode,
    layers,
    load_policy,
    logprobs,
    sample,
    with_features,
)
from strive_rl.policy.logprobs import distribution, mask, sampled_logprobs, token_logprobs
from strive_rl.schema import Completion
from tests.strive_rl.made.groups import make_group


def test_log_softmax_over_what_may_be_sampled(tiny_policy: Policy) -> None:
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    temperature = 0.7
    logits = (tiny_policy.model.lm_head(hidden) / temperature).tolist()
    allowed = [i for i, hide in enumerate(tiny_policy.suppressed.tolist()) if not hide]
    got = distribution(tiny_policy, hidden, temperature).detach()
    for row, values in enumerate(logits):
        total = math.fsum(math.exp(values[i]) for i in allowed)
        for i in allowed[::37]:
            assert got[row, i].item() == pytest.approx(values[i] - math.log(total), abs=1e-5)
    assert torch.isneginf(got[:, tiny_policy.suppressed]).all()


def test_chunks_change_neither_values_nor_gradients(tiny_policy: Policy) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(10, 32, generator=generator, requires_grad=True)
    ids = torch.randint(0, 250, (10,), generator=generator)
    whole = token_logprobs(tiny_policy, hidden, ids, 1.0)
    (expected,) = torch.autograd.grad(whole.sum(), hidden)
    chunked = replace(tiny_policy, settings=replace(tiny_policy.settings, logits_chunk_tokens=3))
    parts = token_logprobs(chunked, hidden, ids, 1.0)
    (given,) = torch.autograd.grad(parts.sum(), hidden)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(given, expected)


def held_for_backward(policy: Policy, hidden: torch.Tensor, ids: torch.Tensor) -> int:
    """The most numbers that autograd keeps of one tensor until the backward pass."""
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() != policy.model.lm_head.weight.data_ptr():
            sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        token_logprobs(policy, hidden, ids, 1.0)
    return max(sizes)


def test_no_logits_are_held_between_the_passes_where_chunks_are_used(tiny_policy: Policy) -> None:
    """Negative control: in one chunk they are, all [tokens, V] of them."""
    hidden, ids = torch.randn(40, 32, requires_grad=True), torch.arange(40)
    vocabulary = len(tiny_policy.suppressed)
    chunked = replace(tiny_policy, settings=replace(tiny_policy.settings, logits_chunk_tokens=8))
    assert held_for_backward(tiny_policy, hidden, ids) == 40 * vocabulary
    assert held_for_backward(chunked, hidden, ids) < 8 * vocabulary


TEMPERATURE = 0.9


def completion(ids: tuple[int, ...]) -> Completion:
    return Completion(ids=ids, logprobs=tuple(-0.5 * i for i in ids), text="", finished=True)


ANSWERS = [
    [completion((65, 66, 67, 256)), completion((70,)), completion((65, 66, 90, 91, 92))],
    [completion((80, 81)), completion((82, 83, 84)), completion((80, 256))],
    [completion((75,)), completion((76,)), completion((77,))],
]


@pytest.fixture(scope="module")
def reference(any_policy: Policy) -> Any:
    """The same weights, as transformers alone loads and runs them."""
    model = any_policy.architecture.model_class.from_pretrained(any_policy.name, attn_implementation="eager")
    return model.eval()


@pytest.fixture(scope="module")
def prompts(any_policy: Policy) -> list[Prompt]:
    """Three prompts of different lengths and grids, so that rows are padded."""
    near = make_group(times=((0.5, 1.0, 4.0, 9.5), (1.0, 2.0, 3600.0, 3604.0, 7200.0, 10800.5)), side=60)
    return encode(any_policy, near) + encode(
        any_policy, make_group(times=((30.0, 14400.0),), side=32, seed=1)
    )


def plain(
    policy: Policy, model: Any, prompt: Prompt, answer: Completion, shift: int = 0, stretch: float = 1.0
) -> torch.Tensor:
    """Log-probabilities of one answer by one full forward, everything written out."""
    ids = np.concatenate([prompt.ids, answer.ids])
    start = int(prompt.positions.max()) + 1 + shift
    tail = np.tile(np.arange(start, start + len(answer.ids)), (3, 1))
    positions = np.concatenate([prompt.positions, tail], axis=1)
    positions = (positions * stretch).astype(np.int64)
    names = ("pixel_values", "image_grid_thw") if prompt.still else ("pixel_values_videos", "video_grid_thw")
    output = model(
        input_ids=torch.from_numpy(ids)[None],
        position_ids=torch.from_numpy(positions)[:, None],
        use_cache=False,
        **dict(zip(names, (prompt.pixels, torch.tensor([prompt.grid])), strict=True)),
    )
    logits = output.logits[0, len(prompt.ids) - 1 : -1].masked_fill(policy.suppressed, -torch.inf)
    picked = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    return picked[torch.arange(len(answer.ids)), torch.tensor(answer.ids)]


def with_settings(policy: Policy, **settings: Any) -> Policy:
    return replace(policy, settings=replace(policy.settings, **settings))


def flat(prompts: list[Prompt]) -> list[tuple[Prompt, Completion]]:
    return [(prompt, answer) for prompt, row in zip(prompts, ANSWERS, strict=True) for answer in row]


def test_log_probabilities_equal_the_reference(
    any_policy: Policy, reference: Any, prompts: list[Prompt]
) -> None:
    policy = any_policy
    with torch.no_grad():
        given = logprobs(policy, with_features(policy, prompts), ANSWERS, TEMPERATURE)
        assert given.shape == (9, 5)
        for row, (prompt, answer) in zip(given, flat(prompts), strict=True):
            expected = plain(any_policy, reference, prompt, answer)
            torch.testing.assert_close(row[: len(answer.ids)], expected, rtol=0, atol=1e-4)
            assert (row[len(answer.ids) :] == 0).all()


def test_wrong_positions_would_be_seen(any_policy: Policy, reference: Any, prompts: list[Prompt]) -> None:
    """Negative controls: with answers shifted by 3, or all positions stretched, the reference differs by far
    more than the tolerance."""
    answer = ANSWERS[1][1]
    with torch.no_grad():
        right = plain(any_policy, reference, prompts[1], answer)
        shifted = plain(any_policy, reference, prompts[1], answer, shift=3)
        stretched = plain(any_policy, reference, prompts[1], answer, stretch=1.5)
    assert (right - shifted).abs().max() > 1e-2
    assert (right - stretched).abs().max() > 1e-2


def test_other_times_and_other_pixels_are_seen(any_policy: Policy) -> None:
    """Negative controls: the same frames at other times, other frames at the same times."""
    (here,), (later,) = (
        encode(any_policy, make_group(times=(times,), side=60))
        for times in ((1.0, 2.0, 3600.0, 3604.0), (1.0, 2.0, 5400.0, 5404.0))
    )
    dark = replace(here, pixels=-here.pixels)
    with torch.no_grad():
        rows = logprobs(any_policy, [here, later, dark], [ANSWERS[0]] * 3, TEMPERATURE).split(3)
    assert torch.equal(here.pixels, later.pixels)
    assert (rows[0] - rows[1]).abs().max() > 1e-2
    assert (rows[0] - rows[2]).abs().max() > 1e-2


@pytest.mark.parametrize(("train_vision", "gradient_checkpointing"), [(False, False), (True, True)])
def test_gradients_equal_the_reference(
    any_policy: Policy,
    any_folder: Path,
    reference: Any,
    prompts: list[Prompt],
    train_vision: bool,
    gradient_checkpointing: bool,
) -> None:
    settings = PolicySettings(
        device="cpu",
        train_vision=train_vision,
        gradient_checkpointing=gradient_checkpointing,
        logits_chunk_tokens=4,
    )
    policy = load_policy(str(any_folder), settings)
    weights = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    given = logprobs(policy, with_features(policy, prompts), ANSWERS, TEMPERATURE)
    names, parameters = zip(*policy.trainable(), strict=True)
    ours = torch.autograd.grad((given * weights).sum(), parameters, allow_unused=True)
    rows = [
        plain(policy, reference, prompt, answer) @ w[: len(answer.ids)]
        for (prompt, answer), w in zip(flat(prompts), weights, strict=True)
    ]
    own = dict(reference.named_parameters())
    expected = torch.autograd.grad(torch.stack(rows).sum(), [own[n] for n in names], allow_unused=True)
    reached = 0
    for name, one, other in zip(names, ours, expected, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            reached += 1
            assert (one - other).norm() <= 1e-4 * other.norm() + 1e-9, name
    assert reached >= len(names) - 1


def test_adapters_get_the_same_gradients_with_recomputation(any_folder: Path, prompts: list[Prompt]) -> None:
    gradients = []
    for checkpointing in (False, True):
        settings = PolicySettings(device="cpu", gradient_checkpointing=checkpointing, lora_rank=2)
        policy = load_policy(str(any_folder), settings)
        logprobs(policy, with_features(policy, prompts), ANSWERS, TEMPERATURE).sum().backward()
        gradients.append([parameter.grad for _, parameter in policy.trainable()])
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-9
    assert sum(bool(one.abs().max() > 1e-3) for one in gradients[0]) >= len(gradients[0]) // 2


def test_under_bfloat16_weights_they_are_float32_and_near(any_folder: Path, prompts: list[Prompt]) -> None:
    """Not rounded to bfloat16's 8 bits; sampling and training agree to its resolution of the logits."""
    settings = PolicySettings(device="cpu", dtype="bfloat16")
    policy = load_policy(str(any_folder), settings)
    ready = with_features(policy, prompts)
    sampling = Sampling(completions=4, max_new_tokens=12)
    answers = sample(policy, ready, sampling, [RngKey(seed=0, position=i) for i in range(len(ready))])
    with torch.no_grad():
        trained = logprobs(policy, ready, answers, 1.0)
    sampled = sampled_logprobs([answer for row in answers for answer in row])
    assert trained.dtype == torch.float32
    assert (trained != trained.bfloat16().float()).float().mean() > 0.5
    gap = (trained - sampled).abs()
    assert gap.max() < 0.25
    assert gap.mean() < 0.03


def test_masks_and_sampled_log_probabilities() -> None:
    answers = [completion((1, 2)), completion((4,))]
    assert mask(answers).tolist() == [[True, True], [True, False]]
    assert sampled_logprobs(answers).tolist() == [[-0.5, -1.0], [-2.0, 0.0]]


def test_what_is_made_again_gives_the_gradients_of_what_is_kept(
    any_policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model in training mode keeps what norms and gates make."""
    made: list[torch.Tensor] = []
    again = layers._Recipe.again
    monkeypatch.setattr(layers._Recipe, "again", lambda recipe: made.append(again(recipe)) or made[-1])
    gradients = []
    for keeping in (True, False):
        policy = with_settings(any_policy, gradient_checkpointing=keeping)
        logprobs(policy, with_features(policy, prompts), ANSWERS, TEMPERATURE).sum().backward()
        gradients.append([parameter.grad for _, parameter in policy.trainable()])
        assert bool(made) != keeping
        policy.model.zero_grad()
    policy.model.eval()
    largest = max(float(each.abs().max()) for each in gradients[0])
    for kept, given in zip(*gradients, strict=True):
        torch.testing.assert_close(given, kept, rtol=1e-4, atol=1e-6 * largest)
