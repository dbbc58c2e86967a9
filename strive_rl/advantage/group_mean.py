"""The mean of a set of responses as their baseline, and what all baselines share.

Shapes: M variants, G completions of a variant, after any leading axes. A set is the whole grid or one row.
"""

from __future__ import annotations

import numpy as np

from strive_rl.schema import Rewards

# Axes of a set.
GRID, ROW = (-2, -1), (-1,)
Axes = tuple[int, ...]


def centred(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean over the set; exactly 0 where all rewards of the set are equal, whatever the rounding."""
    difference = rewards_MG - rewards_MG.mean(axis=over, keepdims=True)
    # The mean of equal numbers can differ from them in the last bit, and over the std's floor that counts.
    equal = rewards_MG.min(axis=over, keepdims=True) == rewards_MG.max(axis=over, keepdims=True)
    return np.where(equal, 0.0, difference)
