"""Prompts against the model's own processor, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from strive_data.errors import SampleError, UsageError
from strive_data.schema import PROBLEM_TYPES
from strive_rl.policy import Policy, encode
from strive_rl.policy.encode import DIRECT, THINK, user_text
from strive_rl.schema import ANSWER_FORM, PromptStyle
from tests.strive_data.made.samples import a_question
from tests.strive_rl.made.groups import make_group


def question(problem_type, options=()):
    return a_question(question="  Which fruit? ", answer="SECRET", problem_type=problem_type, options=options)


def test_options_stand_one_a_line_between_question_and_instruction():
    lines = user_text(question("multiple choice", ("A. apple", "B. pear"))).split("\n")
    assert lines == ["Which fruit?", "A. apple", "B. pear", THINK, ANSWER_FORM["multiple choice"]]


@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
def test_every_type_has_its_line_and_no_text_gives_the_answer_away(problem_type):
    text = user_text(question(problem_type))
    assert text.endswith(ANSWER_FORM[problem_type])
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        assert text.count(tag) == 1
    assert "SECRET" not in text
    assert "12.5" not in text


def test_a_wording_asks_at_once_or_for_another_form():
    asked = question("free-form")
    direct = user_text(asked, PromptStyle(reason=False)).split("\n")
    assert direct == ["Which fruit?", DIRECT, ANSWER_FORM["free-form"]]
    formed = user_text(asked, PromptStyle(form="Say yes or no.")).split("\n")
    assert formed == ["Which fruit?", THINK, "Say yes or no."]
    assert user_text(asked, PromptStyle()) == user_text(asked)


def test_ids_and_pixels_are_those_of_the_processor(tiny_policy: Policy) -> None:
    group = make_group(side=56)
    (prompt,) = encode(tiny_policy, group)
    content = [{"type": "video"}, {"type": "text", "text": user_text(group.question)}]
    text = tiny_policy.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    whole = tiny_policy.processor(
        text=[text],
        videos=[torch.from_numpy(group.views[0].frames.transpose(0, 3, 1, 2).copy())],
        do_sample_frames=False,
        size={"shortest_edge": 28 * 28, "longest_edge": 128 * 28 * 28},
        cap_pixels_per_frame=False,
        return_tensors="pt",
    )
    assert prompt.ids.tolist() == whole["input_ids"][0].tolist()
    assert torch.equal(prompt.pixels, whole["pixel_values_videos"])
    assert prompt.grid == tuple(whole["video_grid_thw"][0].tolist()) == (2, 4, 4)


def test_small_frames_are_not_enlarged_and_none_is_left_out(tiny_policy: Policy) -> None:
    times = tuple(float(t) for t in range(40))
    (prompt,) = encode(tiny_policy, make_group(times=(times,), side=28))
    assert prompt.grid == (20, 2, 2)
    assert prompt.is_video.sum() == 20


def test_the_times_of_each_view_reach_the_positions(tiny_policy: Policy) -> None:
    near, far = encode(tiny_policy, make_group(times=((0.0, 1.0, 2.0, 3.0), (0.0, 1.0, 2.0, 30.0))))
    assert near.ids.tolist() == far.ids.tolist()
    first = int(np.flatnonzero(near.is_video)[0])
    assert (near.positions[0, near.is_video] - first).tolist() == [0, 4]
    assert (far.positions[0, far.is_video] - first).tolist() == [0, 31]


@pytest.mark.parametrize(
    ("pairs", "order"),
    [("consecutive", [0, 1, 2, 2]), ("doubled", [0, 0, 1, 1, 2, 2])],
    ids=["odd", "doubled"],
)
def test_frames_are_repeated_as_if_the_view_held_them_so(
    any_policy: Policy, pairs: str, order: list[int]
) -> None:
    """The last of an odd number; and each, so that it has a patch and its exact time."""
    group = make_group(times=((0.0, 1.0, 4000.0),))
    view = group.views[0]
    by_hand = replace(view, frames=view.frames[order], times=view.times[order])
    (expected,) = encode(any_policy, replace(group, views=(by_hand,)))
    (given,) = encode(paired(any_policy, pairs), group)
    assert given.grid == (len(order) // 2, 2, 2)
    assert given.ids.tolist() == expected.ids.tolist()
    assert torch.equal(given.pixels, expected.pixels)
    np.testing.assert_array_equal(given.positions, expected.positions)


def test_neighbours_are_merged_as_the_view_pairs_them(any_policy: Policy) -> None:
    group = make_group(times=((0.0, 1.0, 4000.0, 4001.0),))
    view = replace(group.views[0], paired=True)
    (given,) = encode(paired(any_policy, "neighbours"), replace(group, views=(view,)))
    (expected,) = encode(any_policy, group)
    assert torch.equal(given.pixels, expected.pixels)
    with pytest.raises(ValueError, match="needs views of neighbouring frames"):
        encode(paired(any_policy, "neighbours"), group)


def paired(policy: Policy, frame_pairs: Any) -> Policy:
    return replace(policy, settings=replace(policy.settings, frame_pairs=frame_pairs))


def test_a_long_prompt_is_refused_not_cut(any_policy: Policy) -> None:
    short = replace(any_policy, settings=replace(any_policy.settings, max_prompt_tokens=100))
    with pytest.raises(SampleError, match=r"q1: prompt of \d+ tokens, policy.max_prompt_tokens is 100"):
        encode(short, make_group())


def test_or_stops_the_run_where_that_is_asked_for(any_policy: Policy) -> None:
    settings = replace(any_policy.settings, max_prompt_tokens=100, over_length="stop")
    with pytest.raises(UsageError, match=r"question q1: prompt of \d+ tokens, .* set over_length=drop"):
        encode(replace(any_policy, settings=settings), make_group())


def test_views_of_different_lengths_keep_their_order(any_policy: Policy) -> None:
    group = make_group(times=((0.0, 1.0), (0.0, 1.0, 2.0, 3.0), (5.0, 9.0)))
    together = encode(any_policy, group)
    assert [prompt.grid[0] for prompt in together] == [1, 2, 1]
    for prompt, view in zip(together, group.views, strict=True):
        (alone,) = encode(any_policy, replace(group, views=(view,)))
        assert torch.equal(prompt.pixels, alone.pixels)
        assert prompt.ids.tolist() == alone.ids.tolist()
