"""Rewards of the M×G grid of a question → advantages, and where their variance lies (METHOD.md section 5).

group_mean       R − mean of its set: GRPO, STRIVE, Share-GRPO
leave_one_out    R − mean of the others of its set: RLOO
empirical_bayes  R − a mix of both leave-one-out baselines, weighed by the variance between variants
advantages       settings → one of them, with or without the std
variance         analysis of variance of a grid; which questions teach nothing
"""

from strive_rl.advantage.advantages import advantages, batch_advantages
from strive_rl.advantage.empirical_bayes import VariancePool, variance_pool
from strive_rl.advantage.variance import VarianceParts, is_uninformative, variance_parts

__all__ = [
    "VarianceParts",
    "VariancePool",
    "advantages",
    "batch_advantages",
    "is_uninformative",
    "variance_parts",
    "variance_pool",
]
