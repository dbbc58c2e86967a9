"""The mean of the other responses of a set as the baseline (RLOO, arXiv 2402.14740).

It does not depend on the response itself, so the gradient has no bias; R − mean of the n − 1 others is
n/(n − 1)·(R − mean of all).
"""

from __future__ import annotations

from math import prod

from strive_rl.advantage.group_mean import Axes, centred
from strive_rl.schema import Rewards


def left_out(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean of the others of its set; 0 in a set of one, which has no others, and where all are equal."""
    size = prod(rewards_MG.shape[axis] for axis in over)
    difference: Rewards = centred(rewards_MG, over) * (size / max(size - 1, 1))
    return difference
