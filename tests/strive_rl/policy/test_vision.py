"""Features and embeddings against the model's own plain forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from strive_rl.policy import Patches, Policy, encode, with_features
from strive_rl.policy.architecture import Grid
from strive_rl.policy.vision import features, model_inputs
from strive_rl.schema import Group, VideoFeatures


def test_features_of_a_batch_are_those_of_each_alone(
    any_policy: Policy, make_group: Callable[..., Group]
) -> None:
    prompts = [*encode(any_policy, make_group(side=56)), *encode(any_policy, make_group(side=28, seed=1))]
    together = [prompt.features for prompt in with_features(any_policy, prompts)]
    for prompt, made in zip(prompts, together, strict=True):
        with torch.no_grad():
            (alone,) = features(any_policy, [prompt])
        assert made is not None
        assert len(made.deep) == len(alone.deep)
        for given, expected in zip((made.tokens, *made.deep), (alone.tokens, *alone.deep), strict=True):
            torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)


def test_groups_that_share_a_view_share_its_pixels_and_are_looked_at_once(
    any_policy: Policy, make_group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_group("a")
    second = replace(first, question=replace(first.question, sample_id="b", question="Which other one?"))
    other = make_group("c", seed=1)
    seen: Patches = {}
    prompts = [encode(any_policy, group, seen)[0] for group in (first, second, other)]
    assert prompts[0].pixels is prompts[1].pixels
    assert prompts[0].pixels is not prompts[2].pixels
    assert not np.array_equal(prompts[0].ids, prompts[1].ids)
    looked: list[int] = []
    look = Policy.encode_vision

    def counting(policy: Policy, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[VideoFeatures]:
        looked.append(len(grids))
        return look(policy, pixels, grids)

    monkeypatch.setattr(Policy, "encode_vision", counting)
    read = with_features(any_policy, prompts)
    assert looked == [2]
    assert read[0].features is read[1].features
    alone = [encode(any_policy, group)[0] for group in (first, second, other)]
    for made, expected in zip(read, with_features(any_policy, alone), strict=True):
        assert made.features is not None
        assert expected.features is not None
        torch.testing.assert_close(made.features.tokens, expected.features.tokens, rtol=1e-5, atol=1e-6)


def test_our_embeddings_give_the_states_of_the_plain_forward(
    any_policy: Policy, make_group: Callable[..., Group]
) -> None:
    (prompt,) = encode(any_policy, make_group())
    ids, is_video = torch.from_numpy(prompt.ids)[None], torch.from_numpy(prompt.is_video)[None]
    positions = torch.from_numpy(prompt.positions)[:, None]
    with torch.no_grad():
        ours = any_policy.forward(model_inputs(any_policy, ids, is_video, [prompt]), positions)
        plain = any_policy.model.model(
            input_ids=ids,
            pixel_values_videos=prompt.pixels,
            video_grid_thw=torch.tensor([prompt.grid]),
            position_ids=positions,
        )
    torch.testing.assert_close(ours, plain.last_hidden_state, rtol=1e-5, atol=1e-5)


def test_a_trained_tower_is_read_anew_each_time(any_policy: Policy, make_group: Callable[..., Group]) -> None:
    trained = replace(any_policy, settings=replace(any_policy.settings, train_vision=True))
    prompts = encode(any_policy, make_group())
    assert with_features(trained, prompts)[0].features is None
