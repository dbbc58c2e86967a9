"""Features and embeddings against the model's own plain forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from strive_rl.policy import Patches, Policy, encode, with_features
from strive_rl.policy.encode import features, model_inputs
from strive_rl.policy.packing import PackedRow
from strive_rl.policy.policy import Grid
from tests.strive_rl.made.groups import make_group


def test_features_of_a_batch_are_those_of_each_alone(any_policy: Policy) -> None:
    prompts = [*encode(any_policy, make_group(side=56)), *encode(any_policy, make_group(side=28, seed=1))]
    together = [prompt.features for prompt in with_features(any_policy, prompts)]
    for prompt, made in zip(prompts, together, strict=True):
        with torch.no_grad():
            (alone,) = features(any_policy, [prompt])
        torch.testing.assert_close(made, alone, rtol=1e-5, atol=1e-6)


def test_groups_that_share_a_view_share_its_pixels(any_policy: Policy) -> None:
    first = make_group("a")
    second = replace(first, question=replace(first.question, sample_id="b", question="Which other one?"))
    seen: Patches = {}
    prompts = [encode(any_policy, group, seen)[0] for group in (first, second, make_group("c", seed=1))]
    assert prompts[0].pixels is prompts[1].pixels
    assert prompts[0].pixels is not prompts[2].pixels
    assert not np.array_equal(prompts[0].ids, prompts[1].ids)


def test_each_distinct_frame_pair_is_read_once(any_policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views with frame pairs 0–3, 2–5 (in another order) and 0–1 of one video, and another size: six pairs of
    the first size and two of the other, whose features are those of each clip alone."""
    (whole,) = make_group(times=(tuple(float(i) for i in range(12)),), side=56).views
    pairs = ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 4, 5, 10, 11, 6, 7], [0, 1, 2, 3])
    views = [replace(whole, frames=whole.frames[order], times=whole.times[order]) for order in pairs]
    (small,) = make_group(side=28).views
    group = replace(make_group(), views=(*views, small))
    prompts = encode(any_policy, group)
    patches: list[int] = []
    encode_vision = Policy.encode_vision

    def counting(policy: Policy, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[torch.Tensor]:
        patches.extend(grid[0] for grid in grids)
        return encode_vision(policy, pixels, grids)

    expected = [with_features(any_policy, [prompt])[0].features for prompt in prompts]
    monkeypatch.setattr(Policy, "encode_vision", counting)
    made = [prompt.features for prompt in with_features(any_policy, prompts)]
    assert sorted(patches) == [2, 6]
    for one, other in zip(made, expected, strict=True):
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_tower_gives_what_the_plain_one_gives(any_policy: Policy) -> None:
    """Windows in one call and patches by a matrix product, against transformers' loop and convolution; frames
    whose last windows are smaller."""
    plain = any_policy.architecture.model_class.from_pretrained(any_policy.name, attn_implementation="eager")
    prompts = encode(any_policy, make_group(times=((0.0, 1.0, 2.0, 3.0),), side=140))
    prompts += encode(any_policy, make_group(side=84))
    for prompt in prompts:
        with torch.no_grad():
            (made,) = features(any_policy, [prompt])
            (expected,) = replace(any_policy, model=plain).encode_vision(prompt.pixels, [prompt.grid])
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_our_embeddings_give_the_states_of_the_plain_forward(any_policy: Policy) -> None:
    (prompt,) = encode(any_policy, make_group())
    ids = torch.from_numpy(prompt.ids)[None]
    positions = torch.from_numpy(prompt.positions)[:, None]
    with torch.no_grad():
        packed = PackedRow([prompt], (), torch.device("cpu"))
        ours = any_policy.forward(model_inputs(any_policy, packed, [prompt]), positions)
        plain = any_policy.model.model(
            input_ids=ids,
            pixel_values_videos=prompt.pixels,
            video_grid_thw=torch.tensor([prompt.grid]),
            position_ids=positions,
        )
    torch.testing.assert_close(ours, plain.last_hidden_state, rtol=1e-5, atol=1e-5)


def test_features_of_a_trained_tower_are_not_kept(any_policy: Policy) -> None:
    trained = replace(any_policy, settings=replace(any_policy.settings, train_vision=True))
    prompts = encode(any_policy, make_group())
    assert with_features(trained, prompts)[0].features is None
