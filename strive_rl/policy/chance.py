"""The random numbers of sampling: a function of what is asked, never of what else is in the batch.

A completion draws its token t with the t-th number of a stream of its own, so it is the same in whatever
pass, and on whichever of however many processes, its prompt is read. Only rounding can still tell passes
apart: the probabilities of a token differ by some 1e-7, and so does where a number falls between two tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

# The last word of the counter; 0 and 1 order the questions (strive_rl.data.plan).
PURPOSE = 2
# Bits of a number: with 52 of them u·total stays below the total, whatever it is rounded to.
BITS = 52


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What the random numbers of a prompt's completions depend on: the run's seed, and which variant of which
    sample, by its position in the data, in which epoch. No two prompts of a run have the same."""

    seed: int
    epoch: int = 0
    position: int = 0
    variant: int = 0

    def uniforms(self, completions: int, tokens: int) -> npt.NDArray[np.float64]:
        """Numbers in [0, 1), float64 [G, L]: the first of any G and L are those of a larger G or L."""
        rows = [self._row(number, tokens) for number in range(completions)]
        return np.stack(rows)

    def _row(self, completion: int, tokens: int) -> npt.NDArray[np.float64]:
        """Raw Philox bits, the same on every machine and numpy."""
        key = np.array([self.seed, self.epoch], dtype=np.uint64)
        place = [0, self.position, (self.variant << 32) + completion, PURPOSE]
        raw = np.random.Philox(key=key, counter=np.array(place, dtype=np.uint64)).random_raw(tokens)
        return (raw >> np.uint64(64 - BITS)).astype(np.float64) * 2.0**-BITS


def pick(probabilities_RV: torch.Tensor, uniforms_R: torch.Tensor) -> torch.Tensor:
    """Ids int64 [R]: the first whose cumulative probability exceeds the number; never one of probability 0.

    Summed in float64: in float32 the small probabilities of a large vocabulary would be lost beside the sum.
    """
    cumulative = probabilities_RV.cumsum(dim=-1, dtype=torch.float64)
    wanted = uniforms_R[:, None] * cumulative[:, -1:]
    ids = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    # Behind the last id only where a probability is not a number, which who asks will see (`sample`).
    return ids.clamp(max=probabilities_RV.shape[-1] - 1)
