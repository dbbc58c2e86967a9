"""Groups to rewarded rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.builtin import encode_groups, reward_grid, rewarded, roll_out
from strive_rl.schema import Completion, Group, SampleRef

TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))


def said(text: str) -> Completion:
    return Completion(ids=(1,), logprobs=(-1.0,), text=text, finished=True)


def test_rewards_stand_where_their_completions_do(make_group: Callable[..., Group]) -> None:
    right, wrong = said("<think>r</think><answer>A</answer>"), said("<answer>B</answer>")
    rollout = rewarded(make_group(times=TWO_VIEWS), ((wrong, right), (said("A"), said("<answer>A</answer>"))))
    np.testing.assert_allclose(reward_grid(rollout), [[0.0, 1.0], [0.0, 0.9]])
    np.testing.assert_array_equal(reward_grid(rollout, "accuracy"), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(reward_grid(rollout, "format"), [[0, 1], [0, 0]])


def test_each_group_gets_its_own_m_by_g_completions(
    tiny_policy: Policy, make_group: Callable[..., Group], answering: Callable[[Policy], Policy]
) -> None:
    made = [
        make_group("a", TWO_VIEWS),
        make_group("b", TWO_VIEWS[:1], seed=1),
        make_group("c", TWO_VIEWS, seed=2),
    ]
    groups = [replace(group, pick=SampleRef(position=i, epoch=0)) for i, group in enumerate(made)]
    policy = answering(tiny_policy)
    encoded = encode_groups(policy, groups)
    rollouts = roll_out(policy, encoded, Sampling(completions=3, max_new_tokens=5, temperature=4.0))
    assert [rollout.group.question.sample_id for rollout in rollouts] == ["a", "b", "c"]
    assert [reward_grid(rollout).shape for rollout in rollouts] == [(2, 3), (1, 3), (2, 3)]
    assert len({reward.total for r in rollouts for row in r.rewards for reward in row}) > 1


def test_a_group_that_cannot_be_encoded_is_named_and_costs_no_other(
    tiny_policy: Policy, make_group: Callable[..., Group]
) -> None:
    good, bad = make_group("good"), make_group("bad")
    bad = replace(bad, question=replace(bad.question, question="word " * 400))
    policy = replace(tiny_policy, settings=replace(tiny_policy.settings, max_prompt_tokens=1000))
    encoded = encode_groups(policy, [bad, good])
    assert [group.question.sample_id for group in encoded.groups] == ["good"]
    ((sample_id, reason),) = encoded.dropped
    assert sample_id == "bad"
    assert "max_prompt_tokens" in reason


def test_nothing_to_roll_out(tiny_policy: Policy) -> None:
    encoded = encode_groups(tiny_policy, [])
    assert roll_out(tiny_policy, encoded, Sampling(completions=2, max_new_tokens=3)) == []


def test_what_is_sampled_depends_on_seed_pick_and_variant_alone(
    tiny_policy: Policy, make_group: Callable[..., Group]
) -> None:
    """The answers of a batch are those of its halves, as on two processes, and of a wave of later views."""
    groups = [
        replace(make_group(f"q{i}", TWO_VIEWS, seed=i), pick=SampleRef(position=i, epoch=1)) for i in range(3)
    ]
    sampling = Sampling(completions=2, max_new_tokens=6)

    def ids(some: list[Group], seed: int = 0, first_variant: int = 0) -> list[Any]:
        encoded = encode_groups(tiny_policy, some)
        rollouts = roll_out(tiny_policy, encoded, sampling, seed, first_variant=first_variant)
        return [[[c.ids for c in row] for row in rollout.completions] for rollout in rollouts]

    whole = ids(groups)
    assert ids(groups[:1]) + ids(groups[1:]) == whole
    second = [replace(group, views=group.views[1:]) for group in groups]
    assert ids(second, first_variant=1) == [rows[1:] for rows in whole]
    assert ids(second) != [rows[1:] for rows in whole]
    assert ids(groups, seed=1) != whole
    again = [replace(group, pick=SampleRef(position=i, epoch=2)) for i, group in enumerate(groups)]
    assert ids(again) != whole
    with pytest.raises(ValueError, match="q1 has no pick"):
        ids([make_group()])


@pytest.mark.parametrize("opening", ["<think>\n", "<think>\n\n</think>\n\n", ""])
def test_what_the_chat_template_wrote_of_a_thought_belongs_to_the_completion(
    tiny_policy: Policy, make_group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch, opening: str
) -> None:
    template = tiny_policy.processor.chat_template
    monkeypatch.setattr(tiny_policy.processor, "chat_template", template + opening + "{{ '' }}")
    encoded = encode_groups(tiny_policy, [make_group()])
    assert {prompt.opening for prompts in encoded.prompts for prompt in prompts} == {opening}
    greedy = Sampling(completions=1, max_new_tokens=2, greedy=True)
    ((completion,),) = roll_out(tiny_policy, encoded, greedy)[0].completions
    sampled = tiny_policy.tokenizer.decode(completion.ids, skip_special_tokens=True)
    assert completion.text == opening + sampled
