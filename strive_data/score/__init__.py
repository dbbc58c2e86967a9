"""Scores of frames against a question: one protocol, one scorer a file; only scorers import torch."""

from strive_data.score.batcher import (
    BatchedVideo,
    BatchingScorer,
    Embedded,
    EmbeddingScorer,
    FrameBatcher,
    FrameEmbedder,
)
from strive_data.score.registry import make_scorer
from strive_data.score.scorer import FrameScores, Scorer

__all__ = [
    "BatchedVideo",
    "BatchingScorer",
    "Embedded",
    "EmbeddingScorer",
    "FrameBatcher",
    "FrameEmbedder",
    "FrameScores",
    "Scorer",
    "make_scorer",
]
