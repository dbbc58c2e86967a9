"""Scores of frames against a question: one protocol, one scorer a file; only scorers import torch."""

from strive_data.score.registry import make_scorer
from strive_data.score.scorer import FrameScores, Scorer

__all__ = ["FrameScores", "Scorer", "make_scorer"]
