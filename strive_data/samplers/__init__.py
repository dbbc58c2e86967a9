"""Scores of the candidates → the frames of each variant, by a named sampler (METHOD.md section 4).

Every sampler is a pure function of arrays, one file each; `draw` calls one by its name.
"""

from strive_data.samplers.comb import comb, inclusion_of
from strive_data.samplers.phases import EVALUATION_PHASE, phase
from strive_data.samplers.registry import NOISY, SAMPLERS, WALKERS, Sampler, draw, draw_rows
from strive_data.samplers.uniform import uniform_indices

__all__ = [
    "EVALUATION_PHASE",
    "NOISY",
    "SAMPLERS",
    "WALKERS",
    "Sampler",
    "comb",
    "draw",
    "draw_rows",
    "inclusion_of",
    "phase",
    "uniform_indices",
]
