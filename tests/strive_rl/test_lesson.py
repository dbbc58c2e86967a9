"""Which questions teach, and which responses are learned under which prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from strive_rl.lesson import conditioned, lessons
from strive_rl.policy import Policy, Prompt
from strive_rl.rollout import Encoded, encode_groups, rewarded
from strive_rl.schema import Completion, Group

TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))


def said(text: str, tokens: int = 1) -> Completion:
    return Completion(ids=(1,) * tokens, logprobs=(0.0,) * tokens, text=text, finished=True)


RIGHT, WRONG = said("<answer>A</answer>", 2), said("<answer>B</answer>")
FORMED = said("<think>a</think><answer>A</answer>")
GRID = ((RIGHT, WRONG), (RIGHT, FORMED))


@pytest.fixture(scope="module")
def encoded(tiny_policy: Policy, make_group: Callable[..., Group]) -> Encoded:
    group = make_group("q", TWO_VIEWS)
    return encode_groups(tiny_policy, [replace(group, clean=make_group(seed=9).views[0])])


def test_only_questions_whose_accuracy_differs_teach(make_group: Callable[..., Group]) -> None:
    mixed = rewarded(make_group("mixed", TWO_VIEWS), ((RIGHT, WRONG), (RIGHT, RIGHT)))
    equal = rewarded(make_group("equal", TWO_VIEWS), ((RIGHT, FORMED), (RIGHT, RIGHT)))
    grids = [np.full((2, 2), 7.0), np.array([[0.0, 1.0], [2.0, 3.0]])]
    both = Encoded(groups=(equal.group, mixed.group), prompts=((), ()))
    (lesson,) = lessons([equal, mixed], both, grids)
    assert (lesson.sample_id, lesson.tokens) == ("mixed", 7)
    assert lesson.advantages.tolist() == [0, 1, 2, 3]
    assert lesson.responses == mixed.completions


def test_own_keeps_each_response_with_its_variant(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "own")
    assert (prompts, responses, order.tolist()) == (encoded.prompts[0], GRID, [0, 1, 2, 3])


def test_clean_puts_all_under_the_uniform_view(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "clean")
    assert prompts == (encoded.clean[0],)
    assert responses == ((RIGHT, WRONG, RIGHT, FORMED),)
    assert order.tolist() == [0, 1, 2, 3]


def test_cross_puts_all_under_every_variant(encoded: Encoded) -> None:
    prompts, responses, order = conditioned(encoded.prompts[0], encoded.clean[0], GRID, "cross")
    assert prompts == encoded.prompts[0]
    assert responses == ((RIGHT, WRONG, RIGHT, FORMED),) * 2
    assert order.tolist() == [0, 1, 2, 3] * 2


def test_clean_without_a_uniform_view_is_refused(encoded: Encoded) -> None:
    own: tuple[Prompt, ...] = encoded.prompts[0]
    with pytest.raises(ValueError, match="no uniform view"):
        conditioned(own, None, GRID, "clean")


def test_the_lesson_of_a_condition(encoded: Encoded) -> None:
    rollout = rewarded(encoded.groups[0], GRID)
    (lesson,) = lessons([rollout], encoded, [np.array([[1.0, 2.0], [3.0, 4.0]])], "cross")
    assert lesson.advantages.tolist() == [1, 2, 3, 4] * 2
    assert lesson.tokens == 12


def test_truncated_responses_are_left_out_and_their_prompts_with_them(
    make_group: Callable[..., Group], encoded: Encoded
) -> None:
    cut = replace(WRONG, finished=False)
    rollout = rewarded(make_group("q", TWO_VIEWS), ((cut, RIGHT), (cut, cut)))
    grid = np.array([[0.0, 1.0], [2.0, 3.0]])
    (whole,) = lessons([rollout], encoded, [grid])
    assert whole.tokens == 5
    (lesson,) = lessons([rollout], encoded, [grid], mask_truncated=True)
    assert lesson.prompts == encoded.prompts[0][:1]
    assert lesson.responses == ((RIGHT,),)
    np.testing.assert_array_equal(lesson.advantages, [1.0])
    (lesson,) = lessons([rollout], encoded, [grid], "cross", mask_truncated=True)
    assert lesson.responses == ((RIGHT,), (RIGHT,))
    np.testing.assert_array_equal(lesson.advantages, [1.0, 1.0])
    right_but_cut = replace(RIGHT, finished=False)
    nothing = rewarded(make_group("q", TWO_VIEWS), ((cut, right_but_cut), (cut, cut)))
    assert lessons([nothing], encoded, [grid], mask_truncated=True) == []
