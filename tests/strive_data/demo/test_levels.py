"""The hard level: what its questions need, and that nothing but the evidence gives them away."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.demo.draw import camera_shift, draw_frame, write_world
from strive_data.demo.world import (
    DISTRACTOR_SIZE,
    HARD_NEEDLE_SHARE,
    LEVELS,
    VideoPlan,
    answer_of,
    plan_hard_video,
    plan_video,
)
from strive_data.errors import UsageError

PLANS = st.builds(
    plan_hard_video, seed=st.integers(0, 2**32), index=st.integers(0, 10_000), questions=st.integers(1, 4)
)


@settings(max_examples=80)
@given(plan=PLANS)
def test_the_needles_of_a_question_are_all_that_has_its_name_and_is_large(plan: VideoPlan) -> None:
    large = [thing for thing in plan.things if thing.size > DISTRACTOR_SIZE[1]]
    for asked in plan.asked:
        assert asked.named in asked.text
        alike = [t for t in large if asked.named in (t.shape, t.colour)]
        assert sorted(alike, key=lambda t: t.start) == list(asked.needles)
        assert len(set(asked.values)) == len(asked.values)


@settings(max_examples=80)
@given(plan=PLANS)
def test_needles_differ_in_length_do_not_touch_and_lie_inside(plan: VideoPlan) -> None:
    spans = [span for asked in plan.asked for span in asked.spans]
    for start, stop in spans:
        assert 0 <= start < stop <= plan.duration_seconds
        share, half_frame = (stop - start) / plan.duration_seconds, 0.5 / plan.frames
        assert HARD_NEEDLE_SHARE[0] - half_frame <= share <= HARD_NEEDLE_SHARE[1] + half_frame
    for one, other in combinations(spans, 2):
        assert one[1] < other[0] or other[1] < one[0]


@settings(max_examples=80)
@given(plan=PLANS)
def test_the_letter_names_what_the_needles_show_in_time(plan: VideoPlan) -> None:
    for asked in plan.asked:
        names = [option[3:] for option in asked.options]
        assert len(set(names)) == 4
        assert names["ABCD".index(asked.letter)] == answer_of(asked.about, list(asked.values))
        if asked.about in ("first", "last"):
            assert set(asked.values) <= set(names)


def test_kinds_counts_and_letters_are_balanced() -> None:
    asked = [one for index in range(400) for one in plan_hard_video(seed=7, index=index, questions=3).asked]
    kinds = Counter(one.about for one in asked)
    assert kinds["moment"] == kinds["count"] == kinds["first"] + kinds["last"] == 400
    counts = Counter(len(one.needles) for one in asked if one.about == "count")
    assert all(counts[n] / 400 == pytest.approx(0.25, abs=0.06) for n in range(1, 5))
    letters = Counter(one.letter for one in asked)
    assert all(letters[letter] / 1200 == pytest.approx(0.25, abs=0.04) for letter in "ABCD")


def test_a_hard_world_of_chosen_kinds(tmp_path: Path) -> None:
    asked = [
        one.about
        for index in range(20)
        for one in plan_hard_video(seed=7, index=index, questions=4, kinds=["moment", "order"]).asked
    ]
    assert Counter(asked)["moment"] == 40
    assert set(asked) == {"moment", "first", "last"}
    every = plan_hard_video(seed=7, index=0, questions=4, kinds=["moment", "order", "count"])
    assert every == plan_hard_video(seed=7, index=0, questions=4)
    world = {"videos": 1, "questions_per_video": 2, "seed": 5}
    rows = write_world(tmp_path / "w", level="hard", kinds=["moment"], **world).read_text().splitlines()
    assert [len(json.loads(row)["evidence_spans"]) for row in rows] == [1, 1]
    with pytest.raises(UsageError, match="got moment for the level easy"):
        write_world(tmp_path / "e", kinds=["moment"], **world)
    assert not (tmp_path / "e").exists()


def test_small_things_may_look_like_the_answer() -> None:
    plans = [plan_hard_video(seed=1, index=index, questions=2) for index in range(30)]
    lures = [
        any(asked.named in (t.shape, t.colour) for t in plan.things if t.size <= DISTRACTOR_SIZE[1])
        for plan in plans
        for asked in plan.asked
    ]
    assert np.mean(lures) > 0.8


def test_the_camera_moves_everything() -> None:
    plan = plan_hard_video(seed=3, index=0, questions=2)
    x, y = zip(*(camera_shift(plan, time) for time in plan.frame_times), strict=True)
    assert np.hypot(x, y) == pytest.approx(plan.camera[0])
    assert max(x) - min(x) > plan.camera[0]
    still = replace(plan, camera=(0.0, 0.0, 0.0))
    assert (draw_frame(plan, 1.0) != draw_frame(still, 1.0)).any()
    assert camera_shift(plan_video(seed=3, index=0, questions=2), 1.0) == (0.0, 0.0)


def test_equal_seeds_equal_plans_and_a_hard_world_names_all_spans(tmp_path: Path) -> None:
    assert plan_hard_video(seed=1, index=2, questions=3) == plan_hard_video(seed=1, index=2, questions=3)
    assert plan_hard_video(seed=1, index=2, questions=3) != plan_hard_video(seed=2, index=2, questions=3)
    annotation = write_world(tmp_path / "w", videos=1, questions_per_video=3, seed=5, level="hard")
    plan = LEVELS["hard"](seed=5, index=0, questions=3)
    text = annotation.read_text().splitlines()
    for line, asked in zip(text, plan.asked, strict=True):
        spans = ", ".join(f"[{start}, {stop - 0.25}]" for start, stop in asked.spans)
        assert f'"evidence_spans": [{spans}]' in line


def test_impossible_numbers_of_questions_are_refused() -> None:
    with pytest.raises(UsageError, match="got 5, expected 1 to 4"):
        plan_hard_video(seed=0, index=0, questions=5)
