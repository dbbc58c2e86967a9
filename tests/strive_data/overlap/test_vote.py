from __future__ import annotations

import numpy as np
import pytest

from strive_data.overlap.vote import Hits, vote


def hits_of(*rows: tuple[float, float, float]) -> Hits:
    """Rows of (train time, eval time, cosine)."""
    train, evaluation, cosines = np.array(rows, dtype=float).T
    return Hits(train_times=train, eval_times=evaluation, cosines=cosines.astype(np.float32))


def test_frames_that_agree_on_a_shift_are_a_match() -> None:
    hits = hits_of((3, 0, 0.9), (4, 1, 0.8), (5, 2, 0.95), (6, 3, 0.85), (0, 9, 0.99))
    match = vote(hits, tolerance_seconds=0.5, least=4)
    assert match is not None
    assert match.hits == 4
    assert match.offset_seconds == pytest.approx(-3)
    assert match.score == pytest.approx(0.8)
    assert match.evidence == pytest.approx(-np.log([0.1, 0.2, 0.05, 0.15]).sum(), rel=1e-5)
    three = vote(hits, tolerance_seconds=0.5, least=3)
    assert three is not None
    assert three.score == pytest.approx(0.85)


def test_frames_that_agree_on_no_shift_are_none() -> None:
    hits = hits_of((0, 0, 0.9), (1, 5, 0.9), (2, 12, 0.9), (3, 20, 0.9))
    assert vote(hits, tolerance_seconds=0.5, least=4) is None


def test_one_frame_that_is_like_many_counts_once() -> None:
    """A title card in one video against a still shot in the other is one hit, however many pairs it makes."""
    hits = hits_of(*((7, 7 + i / 10, 0.99) for i in range(5)))
    assert vote(hits, tolerance_seconds=1.0, least=2) is None
    one = vote(hits, tolerance_seconds=1.0, least=1)
    assert one is not None
    assert one.hits == 1


@pytest.mark.parametrize("shift", [-7.77, -0.5, 0.0, 0.49, 3.2])
def test_shifts_within_a_tolerance_are_in_one_window_wherever_it_lies(shift: float) -> None:
    rows = [
        (t, t + shift + wobble, 0.9)
        for t, wobble in zip(range(6), (0, 0.4, 0.1, 0.35, 0.2, 0.3), strict=True)
    ]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert match is not None
    assert match.hits == 6
    assert match.offset_seconds == pytest.approx(shift + 0.225)


def test_the_shift_is_that_of_most_evidence_and_the_score_the_best_of_any() -> None:
    """6·log 5 = 9.7 is more than 4·log 10 = 9.2, and less than 4·log 100."""
    rows = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.9) for t in range(4)]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert match is not None
    assert (match.hits, match.offset_seconds) == (6, pytest.approx(0))
    assert match.score == pytest.approx(0.9)
    surer = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.99) for t in range(4)]
    other = vote(hits_of(*surer), tolerance_seconds=0.5, least=4)
    assert other is not None
    assert (other.hits, other.offset_seconds) == (4, pytest.approx(10))
