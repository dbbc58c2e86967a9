"""Scores of the candidates → the frames of each variant. Pure."""
