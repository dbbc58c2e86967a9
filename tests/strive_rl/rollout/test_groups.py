"""Groups through encoding, sampling and reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.groups import encode_groups, learned, reward_groups, sample_groups, with_prompts
from strive_rl.schema import Group, SampleRef
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import answering
from tests.strive_rl.made.rollouts import TWO_VIEWS, completion, rewarded


def test_rewards_have_the_places_of_their_completions() -> None:
    right, wrong = completion("<think>r</think><answer>A</answer>"), completion("<answer>B</answer>")
    rows = ((wrong, right), (completion("A"), completion("<answer>A</answer>")))
    group = rewarded(make_group(times=TWO_VIEWS), rows)
    np.testing.assert_allclose(group.reward_grid(), [[0.0, 1.0], [0.0, 0.9]])
    np.testing.assert_array_equal(group.reward_grid("accuracy"), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(group.reward_grid("format"), [[0, 1], [0, 0]])


def test_what_is_learned_differs_in_accuracy_not_in_format_and_is_whole() -> None:
    plain, formed = completion("<answer>A</answer>"), completion("<think>r</think><answer>A</answer>")
    wrong, cut = completion("<answer>B</answer>"), completion("<answer>B</answer>", finished=False)
    joint, apart = AlgorithmSettings(), AlgorithmSettings(normalise="per_variant")
    masked = AlgorithmSettings(mask_truncated=True)
    for rows, settings, kept in (
        (((plain, formed), (plain, plain)), joint, [[False, False], [False, False]]),
        (((plain, plain), (plain, wrong)), joint, [[True, True], [True, True]]),
        (((plain, plain), (plain, wrong)), apart, [[False, False], [True, True]]),
        (((plain, plain), (wrong, wrong)), apart, [[False, False], [False, False]]),
        (((plain, cut), (wrong, cut)), masked, [[True, False], [True, False]]),
    ):
        assert learned(rewarded(make_group(times=TWO_VIEWS), rows), settings).tolist() == kept


def test_each_group_gets_its_own_m_by_g_completions(tiny_policy: Policy) -> None:
    made = [
        make_group("a", TWO_VIEWS),
        make_group("b", TWO_VIEWS[:1], seed=1),
        make_group("c", TWO_VIEWS, seed=2),
    ]
    groups = [replace(group, ref=SampleRef(position=i, epoch=0)) for i, group in enumerate(made)]
    policy = answering(tiny_policy)
    encoded, skipped = encode_groups(policy, groups)
    sampling = Sampling(completions=3, max_new_tokens=5, temperature=4.0)
    done, _, _ = reward_groups(sample_groups(policy, encoded, sampling))
    assert skipped == []
    assert [group.question.sample_id for group in done] == ["a", "b", "c"]
    assert [group.reward_grid().shape for group in done] == [(2, 3), (1, 3), (2, 3)]
    assert len({reward.total for group in done for row in group.rewards for reward in row}) > 1


def test_a_group_that_cannot_be_encoded_is_named_and_costs_no_other(tiny_policy: Policy) -> None:
    good, bad = make_group("good"), make_group("bad")
    bad = replace(bad, question=replace(bad.question, question="word " * 400))
    policy = replace(tiny_policy, settings=replace(tiny_policy.settings, max_prompt_tokens=1000))
    (encoded,), (skipped,) = encode_groups(policy, [bad, good])
    assert (encoded.question.sample_id, skipped.sample_id) == ("good", "bad")
    assert "max_prompt_tokens" in skipped.reason
    assert all(prompt.features is not None for prompt in encoded.prompts)


def test_prompts_of_a_loader_are_those_of_the_step(
    tiny_policy: Policy,
) -> None:
    """One that cannot be made is reported by the step, as it would be."""
    good, bad = make_group("good", TWO_VIEWS), make_group("bad")
    bad = replace(bad, question=replace(bad.question, question="word " * 400))
    policy = replace(tiny_policy, settings=replace(tiny_policy.settings, max_prompt_tokens=1000))
    prepared = [with_prompts(policy, each) for each in (good, bad)]
    assert prepared[1] is bad
    (made,), skipped = encode_groups(policy, prepared)
    (expected,), as_before = encode_groups(policy, [good, bad])
    assert skipped == as_before
    for prompt, early, plain in zip(made.prompts, prepared[0].prompts, expected.prompts, strict=True):
        assert prompt.pixels is early.pixels
        np.testing.assert_array_equal(prompt.ids, plain.ids)
        np.testing.assert_array_equal(prompt.positions, plain.positions)
        assert torch.equal(prompt.pixels, plain.pixels)
        assert prompt.features is not None
        assert plain.features is not None
        assert torch.equal(prompt.features, plain.features)


def test_no_groups_give_none(tiny_policy: Policy) -> None:
    assert encode_groups(tiny_policy, []) == ([], [])
    assert sample_groups(tiny_policy, [], Sampling(completions=2, max_new_tokens=3)) == []


def test_completions_depend_on_seed_ref_and_variant_alone(tiny_policy: Policy) -> None:
    """The completions of a batch are those of its halves, as on two processes."""
    groups = [
        replace(make_group(f"q{i}", TWO_VIEWS, seed=i), ref=SampleRef(position=i, epoch=1)) for i in range(3)
    ]
    sampling = Sampling(completions=2, max_new_tokens=6)

    def ids(some: list[Group], seed: int = 0) -> list[Any]:
        encoded, _ = encode_groups(tiny_policy, some)
        sampled = sample_groups(tiny_policy, encoded, sampling, seed)
        return [[[c.ids for c in row] for row in group.completions] for group in sampled]

    whole = ids(groups)
    assert ids(groups[:1]) + ids(groups[1:]) == whole
    second = [replace(group, views=group.views[1:]) for group in groups]
    assert ids(second) != [rows[1:] for rows in whole]
    assert ids(groups, seed=1) != whole
    next_epoch = [replace(group, ref=SampleRef(position=i, epoch=2)) for i, group in enumerate(groups)]
    assert ids(next_epoch) != whole
    with pytest.raises(ValueError, match="q1 has no ref"):
        ids([make_group()])


@pytest.mark.parametrize("opening", ["<think>\n", "<think>\n\n</think>\n\n", ""])
def test_a_thought_that_the_chat_template_opens_belongs_to_the_completion(
    tiny_policy: Policy, monkeypatch: pytest.MonkeyPatch, opening: str
) -> None:
    template = tiny_policy.processor.chat_template
    monkeypatch.setattr(tiny_policy.processor, "chat_template", template + opening + "{{ '' }}")
    encoded, _ = encode_groups(tiny_policy, [make_group()])
    assert {prompt.opening for group in encoded for prompt in group.prompts} == {opening}
    greedy = Sampling(completions=1, max_new_tokens=2, greedy=True)
    ((completion,),) = sample_groups(tiny_policy, encoded, greedy)[0].completions
    sampled = tiny_policy.tokenizer.decode(completion.ids, skip_special_tokens=True)
    assert completion.text == opening + sampled
