from __future__ import annotations

from pathlib import Path

import numpy as np

from strive_data.config import ScoreSettings
from strive_data.score import EmbeddingScorer, FrameEmbedder, FrameScores
from strive_data.score.clip import ClipScorer
from tests.strive_data.samples import a_question
from tests.strive_data.score.videos import video_of


class FramesOnly:
    name = "frames only"

    def score(self, candidates: object, questions: object) -> list[FrameScores]:
        return []


def test_clip_scores_from_its_embeddings_alone_with_the_same_bits(tiny_clip: Path) -> None:
    scorer = ClipScorer(ScoreSettings(model=f"local-dir:{tiny_clip}", pretrained="", device="cpu"))
    assert isinstance(scorer, EmbeddingScorer)
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)
    (scored,) = scorer.score(video_of(frames), [a_question()])
    assert isinstance(scored, FrameScores)
    assert scored.embeddings is not None
    np.testing.assert_array_equal(scored.embeddings, scorer.embed_frames(frames))
    (again,) = scorer.score_embeddings(scored.embeddings, [a_question()])
    assert isinstance(again, FrameScores)
    assert again.scores.tobytes() == scored.scores.tobytes()


def test_a_scorer_that_only_scores_frames_is_no_embedder() -> None:
    assert not isinstance(FramesOnly(), FrameEmbedder)
