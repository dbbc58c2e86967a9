"""Groups of made-up views."""

from __future__ import annotations

import numpy as np

from strive_data.schema import Question
from strive_rl.schema import Group, View


def make_group(
    sample_id: str = "q1",
    times: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 4.0, 9.5),),
    side: int = 28,
    seed: int = 0,
) -> Group:
    """A group with one view for each tuple of times, its frames random squares of `side` pixels."""
    generator = np.random.default_rng(seed)
    views = tuple(
        View(
            frames=generator.integers(0, 256, (len(each), side, side, 3), dtype=np.uint8),
            times=np.array(each, dtype=np.float64),
        )
        for each in times
    )
    question = Question(
        sample_id=sample_id,
        video="v.mp4",
        question="Which?",
        answer="A",
        problem_type="multiple choice",
        options=("A. red", "B. blue"),
    )
    return Group(question=question, views=views)
