"""A baseline between one for each variant and one for all (METHOD.md section 5; beyond the paper).

b_mg = λ·R̄_{m,−g} + (1 − λ)·R̄_{−(m,g)}, λ = σ_a²/(σ_a² + σ_e²/(G − 1)): the more the variants of a question
differ, beside what chance explains, the more a response is compared with those to its own variant. λ is one
number for a batch: σ_e² = MSW, σ_a² = max(0, (MSB − MSW)/G), from sums of squares pooled over its questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strive_rl.advantage.group_mean import GRID, ROW
from strive_rl.advantage.leave_one_out import left_out
from strive_rl.advantage.variance import variance_parts
from strive_rl.schema import Rewards


@dataclass(frozen=True, kw_only=True)
class VariancePool:
    """Sums over the questions of a batch: of squares between and within variants, and of their degrees of
    freedom, M − 1 and M·(G − 1) a question. Pools of parts of a batch add up, field by field."""

    between: float = 0.0
    within: float = 0.0
    df_between: int = 0
    df_within: int = 0

    @classmethod
    def joined(cls, parts: Sequence[VariancePool]) -> VariancePool:
        """The pool of a batch from those of its parts."""
        return cls(
            between=sum(part.between for part in parts),
            within=sum(part.within for part in parts),
            df_between=sum(part.df_between for part in parts),
            df_within=sum(part.df_within for part in parts),
        )

    def weight(self, completions: int) -> float:
        """λ in [0, 1] for G = `completions`; 0 where nothing is known of the variance within variants."""
        if completions < 2 or not self.df_between or not self.df_within:
            return 0.0
        error = self.within / self.df_within
        variants = max(0.0, (self.between / self.df_between - error) / completions)
        total = variants + error / (completions - 1)
        return variants / total if total else 0.0


def variance_pool(grids: Sequence[Rewards]) -> VariancePool:
    """Pool of grids [M, G], of any shapes."""
    parts = [variance_parts(grid) for grid in grids]
    return VariancePool(
        between=sum(part.between for part in parts),
        within=sum(part.within for part in parts),
        df_between=sum(grid.shape[0] - 1 for grid in grids),
        df_within=sum(grid.shape[0] * (grid.shape[1] - 1) for grid in grids),
    )


def mixed(rewards_MG: Rewards, weight: float) -> Rewards:
    """R − b for λ = `weight`: 0 is leave-one-out over the grid, 1 leave-one-out over each row."""
    return weight * left_out(rewards_MG, ROW) + (1 - weight) * left_out(rewards_MG, GRID)
