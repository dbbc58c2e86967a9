from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from strive_data.config import ScoreSettings
from strive_data.engines.cache import FRAMES_ONLY
from strive_data.score import FrameScores, Scorer, make_scorer
from strive_data.score.batcher import BatchingScorer, EmbeddingScorer
from strive_data.score.scorer import FlatScorer, FrameEmbedder, NoisyScorer
from tests.strive_data.made.samples import a_question, some_candidates


def test_scores_without_embeddings_are_the_least_that_a_scorer_gives() -> None:
    made = FrameScores(scores=np.arange(3, dtype=np.float32), windows=1, scorer="by hand")
    assert made.embeddings is None
    assert made != FrameScores(scores=made.scores, windows=1, scorer="by hand")  # arrays are not compared
    with pytest.raises(FrozenInstanceError):
        made.windows = 2  # type: ignore[misc]


def test_a_scorer_gives_one_result_a_question_in_order() -> None:
    scorer: Scorer = FlatScorer()
    results = scorer.score(some_candidates(5), [a_question("a"), a_question("b")])
    assert [result.scores.tolist() for result in results if isinstance(result, FrameScores)] == [
        [0.0] * 5
    ] * 2


def test_all_frames_score_alike_and_have_embeddings_of_no_width() -> None:
    scorer = make_scorer(ScoreSettings(scorer="flat"))
    assert isinstance(scorer, EmbeddingScorer)
    assert not isinstance(scorer, BatchingScorer)
    candidates = some_candidates()
    count = len(candidates.times)
    (one, two) = scorer.score(candidates, [a_question(), a_question()])
    for made in (one, two):
        assert made.scores.tolist() == [0.0] * count
        assert made.scores.dtype == np.float32
        assert made.embeddings.shape == (count, 0)
    assert scorer.embedding_identity() == FRAMES_ONLY


def test_noise_has_its_size_and_depends_on_the_sample_alone() -> None:
    noisy, candidates = NoisyScorer(FlatScorer(), 0.8), some_candidates(400)
    first, second = noisy.score(candidates, [a_question("a"), a_question("b")])
    (again,) = NoisyScorer(FlatScorer(), 0.8).score(candidates, [a_question("a")])
    assert isinstance(first, FrameScores)
    assert isinstance(second, FrameScores)
    assert isinstance(again, FrameScores)
    assert first.scores.dtype == np.float32
    assert first.scores.std() == pytest.approx(0.8, rel=0.1)
    assert (first.scores == again.scores).all()
    assert (first.scores != second.scores).any()
    assert first.scorer == noisy.name == "flat+noise0.8"
    assert isinstance(noisy, FrameEmbedder)  # as the scorer that it disturbs: its frames can be grouped
