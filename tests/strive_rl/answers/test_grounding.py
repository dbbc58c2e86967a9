"""Temporal IoU by hand, and the reward of answers in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.schema import Question, Span
from strive_rl.algorithm.reward import reward_of
from strive_rl.answers.accuracy import accuracy_of
from strive_rl.answers.grounding import recalls, temporal_iou

ASKED = Question(
    sample_id="1", video="v.mp4", question="When?", answer="10 to 20", problem_type="temporal grounding"
)


@pytest.mark.parametrize(
    ("given_spans", "true", "iou"),
    [
        ([(10, 20)], [(10, 20)], 1.0),
        ([(15, 25)], [(10, 20)], 5 / 15),
        ([(0, 100)], [(10, 20)], 0.1),
        ([(20, 30)], [(10, 20)], 0.0),
        ([(10, 12), (11, 15), (15, 20)], [(10, 20)], 1.0),
        ([(10, 20), (30, 40)], [(10, 20)], 0.5),
        ([(0, 4)], [(0, 2), (3, 5)], 3 / 5),
        ([(12, 12)], [(10, 20)], 0.0),
        ([], [(10, 20)], 0.0),
    ],
)
def test_temporal_iou_by_hand(given_spans: list[Span], true: list[Span], iou: float) -> None:
    assert temporal_iou(given_spans, true) == pytest.approx(iou)
    assert temporal_iou(true, given_spans) == pytest.approx(iou)


spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))), max_size=5
)


@given(spans, spans)
def test_it_is_the_share_of_whole_seconds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """An oracle that counts seconds one by one."""
    ours, theirs = ({second for a, b in each for second in range(a, b)} for each in (one, other))
    expected = len(ours & theirs) / len(ours | theirs) if ours & theirs else 0.0
    assert temporal_iou(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "accuracy"),
    [
        ("10 to 20", 1.0),
        ("<10.0> - <20.0>", 1.0),
        ("**00:10 - 00:20**", 1.0),
        ("The event happens from 10s to 20s.", 1.0),
        ("15 to 25", 1 / 3),
        ("10 to 20; 30 to 40", 0.5),
        ("20 to 10", 0.0),
        ("at 15", 0.0),
        ("I do not know", 0.0),
        ("10 to 20 minutes", 0.0),
    ],
)
def test_the_reward_of_an_answer(answer: str, accuracy: float) -> None:
    assert accuracy_of(answer, ASKED) == pytest.approx(accuracy)
    text = f"<think>x</think><answer>{answer}</answer>"
    assert reward_of(text, ASKED).accuracy == pytest.approx(accuracy)


@given(st.text(max_size=300))
def test_any_answer_has_a_reward(answer: str) -> None:
    assert 0 <= accuracy_of(answer, ASKED) <= 1


def test_recall_counts_the_threshold_itself() -> None:
    assert recalls([0.3, 0.5, 0.69, 1.0]) == {"R@0.3": 1.0, "R@0.5": 0.75, "R@0.7": 0.25}
    assert np.isclose(recalls([0.1])["R@0.3"], 0)
