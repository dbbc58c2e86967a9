"""Offline half of STRIVE: from videos and questions to scored, sampled, sharded training data."""

__version__ = "0.1.0"
