from __future__ import annotations

import numpy as np

from strive_data.cache import FRAMES_ONLY
from strive_data.config import ScoreSettings
from strive_data.score import EmbeddingScorer, QueueingScorer, make_scorer
from tests.strive_data.samples import a_question, some_candidates


def test_all_frames_score_alike_and_have_embeddings_of_no_width() -> None:
    scorer = make_scorer(ScoreSettings(scorer="flat"))
    assert isinstance(scorer, EmbeddingScorer)
    assert not isinstance(scorer, QueueingScorer)
    candidates = some_candidates()
    count = len(candidates.times)
    (one, two) = scorer.score(candidates, [a_question(), a_question()])
    for made in (one, two):
        assert made.scores.tolist() == [0.0] * count
        assert made.scores.dtype == np.float32
        assert made.embeddings.shape == (count, 0)
    assert scorer.embedding_identity() == FRAMES_ONLY
