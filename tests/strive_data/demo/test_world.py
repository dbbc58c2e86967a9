from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.demo.world import NEEDLE_SHARE, Thing, VideoPlan, plan_video
from strive_data.errors import UsageError

PLANS = st.builds(
    plan_video, seed=st.integers(0, 2**32), index=st.integers(0, 10_000), questions=st.integers(1, 4)
)


def look(thing: Thing, asks: str) -> str:
    """What the question names: the shape where it asks for the colour, and the other way round."""
    return thing.shape if asks == "colour" else thing.colour


@settings(max_examples=150)
@given(plan=PLANS)
def test_only_the_needle_has_what_the_question_names(plan: VideoPlan) -> None:
    for asked in plan.asked:
        named = look(asked.needles[0], asked.asks)
        assert named in asked.text
        alike = [thing for thing in plan.things if look(thing, asked.asks) == named]
        assert alike == [*asked.needles]


@settings(max_examples=150)
@given(plan=PLANS)
def test_needles_are_short_apart_and_inside(plan: VideoPlan) -> None:
    for asked in plan.asked:
        start, stop = asked.spans[0]
        assert 0 <= start < stop <= plan.duration_seconds
        half_frame = 0.5 / plan.frames
        share = (stop - start) / plan.duration_seconds
        assert NEEDLE_SHARE[0] - half_frame <= share <= NEEDLE_SHARE[1] + half_frame
        assert start in plan.frame_times
    for one, other in combinations(plan.asked, 2):
        assert one.spans[0][1] < other.spans[0][0] or other.spans[0][1] < one.spans[0][0]


@settings(max_examples=150)
@given(plan=PLANS)
def test_the_letter_names_the_answer_and_the_options_differ(plan: VideoPlan) -> None:
    for asked in plan.asked:
        answer = asked.needles[0].colour if asked.asks == "colour" else asked.needles[0].shape
        assert asked.options["ABCD".index(asked.letter)] == f"{asked.letter}. {answer}"
        assert [option[:3] for option in asked.options] == ["A. ", "B. ", "C. ", "D. "]
        assert len({option[3:] for option in asked.options}) == 4


def test_letters_kinds_and_answers_are_balanced() -> None:
    asked = [one for index in range(500) for one in plan_video(seed=7, index=index, questions=4).asked]
    for letter in "ABCD":
        assert sum(one.letter == letter for one in asked) / len(asked) == pytest.approx(0.25, abs=0.03)
    assert sum(one.asks == "colour" for one in asked) / len(asked) == pytest.approx(0.5, abs=0.03)
    colours = [one.needles[0].colour for one in asked if one.asks == "colour"]
    assert colours.count("red") / len(colours) == pytest.approx(1 / 6, abs=0.03)


def test_guessing_from_what_is_always_there_does_not_help() -> None:
    """Of the options, those that distractors show are right about as often as the others."""
    right, shown = 0, 0.0
    for index in range(400):
        plan = plan_video(seed=3, index=index, questions=2)
        for asked in plan.asked:
            common = {
                look(thing, "colour" if asked.asks == "shape" else "shape") for thing in plan.things[:-2]
            }
            options = [option for option in asked.options if option[3:] in common]
            if 0 < len(options) < 4:
                right += any(option[0] == asked.letter for option in options)
                shown += len(options) / 4
    assert right / shown == pytest.approx(1.0, abs=0.2)


def test_equal_seeds_equal_plans_and_others_differ() -> None:
    assert plan_video(seed=1, index=2, questions=3) == plan_video(seed=1, index=2, questions=3)
    assert plan_video(seed=1, index=2, questions=3) != plan_video(seed=1, index=3, questions=3)
    assert plan_video(seed=1, index=2, questions=3) != plan_video(seed=2, index=2, questions=3)


@pytest.mark.parametrize("questions", [0, 5])
def test_impossible_numbers_of_questions_are_refused(questions: int) -> None:
    with pytest.raises(UsageError, match=f"got {questions}, expected 1 to 4"):
        plan_video(seed=0, index=0, questions=questions)
