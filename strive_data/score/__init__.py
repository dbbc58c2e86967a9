"""Scores of frames against a question: one protocol, one scorer a file; only scorers import torch."""

from strive_data.score.batcher import (
    EmbeddingScorer,
    FrameBatcher,
    FrameEmbedder,
    QueuedVideo,
    QueueingScorer,
)
from strive_data.score.registry import make_scorer
from strive_data.score.scorer import FrameScores, Scorer

__all__ = [
    "EmbeddingScorer",
    "FrameBatcher",
    "FrameEmbedder",
    "FrameScores",
    "QueuedVideo",
    "QueueingScorer",
    "Scorer",
    "make_scorer",
]
