from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.schema import Candidates, Question
from strive_data.score import FrameScores, make_scorer
from strive_data.score.cascade import CascadeScorer, best_share, join
from strive_data.score.scorer import FrameEmbedder
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of

# Frame i is i·20 bright.
VIDEO = video_of(np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 2, 2, 3), 20, np.uint8))


class Brightness:
    """Scores the brightness times `sign`, remembers what it saw, and fails questions named so."""

    def __init__(self, name: str, sign: float) -> None:
        self.name, self.sign = name, sign
        self.seen: list[list[float]] = []

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        scores = (self.sign * candidates.frames.mean(axis=(1, 2, 3)) / 20).astype(np.float32)
        self.seen.append(candidates.times.tolist())
        if any(question.sample_id == f"raise {self.name}" for question in questions):
            raise SampleError(FailureKind.SCORE_FAILED, f"raised by {self.name}")
        return [
            SampleError(FailureKind.SCORE_FAILED, f"failed by {self.name}")
            if question.sample_id == f"fail {self.name}"
            else FrameScores(scores=scores, windows=2, scorer=self.name)
            for question in questions
        ]


def test_a_hand_worked_cascade() -> None:
    """First: 0..7. The best quarter, 6 and 7, get -6 and -7 (std .5); the first's std over 0..7 is √5.25.
    Candidate 5 is 1 below the last refined: -7 - 1·.5/√5.25."""
    first, second = Brightness("first", 1), Brightness("second", -1)
    (scored,) = CascadeScorer(first, second, share=0.25).score(VIDEO, [a_question("a")])
    assert isinstance(scored, FrameScores)
    slope = 0.5 / np.sqrt(5.25)
    expected = [-7 - slope * (6 - i) for i in range(6)] + [-6, -7]
    assert scored.scores == pytest.approx(expected, abs=1e-6)
    assert scored.scores.dtype == np.float32
    assert second.seen == [[6.5, 7.5]]
    assert (scored.scorer, scored.windows) == ("first > 0.25 second", 2)


def test_a_share_of_one_is_the_second_scorer() -> None:
    cascade = CascadeScorer(Brightness("first", 1), Brightness("second", -1), share=1)
    (scored,) = cascade.score(VIDEO, [a_question("a")])
    assert isinstance(scored, FrameScores)
    assert scored.scores.tolist() == [-float(i) for i in range(8)]


SCORES = hnp.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@given(coarse=SCORES, share=st.floats(0.01, 1), data=st.data())
def test_order_is_kept_below_and_nothing_unrefined_is_above(
    coarse: np.ndarray, share: float, data: st.DataObject
) -> None:
    best = best_share(coarse, share)
    elements = st.floats(-100, 100, width=32, allow_subnormal=False)
    fine = data.draw(hnp.arrays(np.float32, len(best), elements=elements))
    scores = join(coarse, fine, best)
    assert np.isfinite(scores).all()
    assert (scores[best] == fine).all()
    rest = np.setdiff1d(np.arange(len(coarse)), best)
    assert (scores[rest] <= fine.min()).all()
    ordered = rest[np.argsort(coarse[rest], kind="stable")]
    assert (np.diff(scores[ordered]) >= 0).all()
    assert len(best) == max(1, int(np.ceil(share * len(coarse) - 1e-9)))
    assert coarse[best].min() >= max(coarse[rest], default=-np.inf)


def test_equal_scores_stay_equal_and_one_refined_keeps_the_distances() -> None:
    flat = np.zeros(4, dtype=np.float32)
    assert best_share(flat, 0.5).tolist() == [0, 1]
    assert join(flat, np.array([3, 1], np.float32), best_share(flat, 0.5)).tolist() == [3, 1, 1, 1]
    steps = np.array([0, 1, 5, 3], dtype=np.float32)
    assert join(steps, np.array([2], np.float32), best_share(steps, 0.25)).tolist() == [-3, -2, 2, 0]


def test_the_scale_of_the_first_scorer_does_not_matter() -> None:
    coarse = np.random.default_rng(0).normal(size=30).astype(np.float32)
    best = best_share(coarse, 0.3)
    fine = np.random.default_rng(1).normal(size=len(best)).astype(np.float32)
    assert join(7 * coarse + 3, fine, best) == pytest.approx(join(coarse, fine, best), abs=1e-4)
    assert join(coarse, 7 * fine + 3, best) == pytest.approx(7 * join(coarse, fine, best) + 3, abs=1e-4)


def test_a_question_that_either_cannot_score_fails_alone() -> None:
    cascade = CascadeScorer(Brightness("first", 1), Brightness("second", -1), share=0.5)
    names = ["fail first", "fail second", "raise second", "a"]
    *failed, kept = cascade.score(VIDEO, [a_question(name) for name in names])
    messages = [result.message for result in failed if isinstance(result, SampleError)]
    assert messages == ["failed by first", "failed by second", "raised by second"]
    assert isinstance(kept, FrameScores)
    with pytest.raises(SampleError, match="raised by first"):
        cascade.score(VIDEO, [a_question("raise first")])


def test_clip_first_then_a_language_model(tiny_clip: Path, tiny_vlms: Path) -> None:
    """By name: the refined candidates have the margins of the model alone, and embeddings are passed on."""
    video = video_of(np.random.default_rng(0).integers(0, 256, (8, 28, 56, 3), dtype=np.uint8))
    settings = ScoreSettings(
        scorer="cascade",
        model=f"local-dir:{tiny_clip}",
        cascade_model=str(tiny_vlms / "llava"),
        cascade_share=0.3,
        device="cpu",
        batch_size=4,
    )
    scorer = make_scorer(settings)
    alone = [
        make_scorer(replace(settings, scorer="clip")),
        make_scorer(replace(settings, scorer="vlm", model=settings.cascade_model)),
    ]
    (scored,), (coarse,), (fine,) = (one.score(video, [a_question("a")]) for one in (scorer, *alone))
    assert isinstance(scored, FrameScores)
    assert isinstance(coarse, FrameScores)
    assert isinstance(fine, FrameScores)
    best = best_share(coarse.scores, 0.3)
    assert len(best) == 3
    assert scored.scores[best] == pytest.approx(fine.scores[best], abs=1e-4)
    assert (scored.scores.argsort()[:5] == coarse.scores.argsort()[:5]).all()
    assert isinstance(scorer, FrameEmbedder)
    assert scored.embeddings is not None
    assert scored.embeddings.tobytes() == scorer.embed_frames(video.frames).tobytes()
    assert not isinstance(CascadeScorer(Brightness("a", 1), Brightness("b", 1), share=1), FrameEmbedder)


@pytest.mark.parametrize("part", ["cascade_first", "cascade_second"])
def test_a_cascade_of_cascades_is_refused(part: str) -> None:
    with pytest.raises(SettingsError, match=f"score.{part}: a cascade cannot be a part of a cascade"):
        make_scorer(ScoreSettings(scorer="cascade", **{part: "cascade"}))


def test_looked_up_scores_refine_nothing() -> None:
    with pytest.raises(SettingsError, match="precomputed scores cost nothing"):
        make_scorer(ScoreSettings(scorer="cascade", cascade_second="precomputed"))


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="cascade_share"):
        ScoreSettings(cascade_share=share)
