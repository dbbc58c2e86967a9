"""The loss as a pure function of log-probabilities and advantages (METHOD.md section 5).

inputs       TokenBatch and Objective, all that a loss may see
ratio        importance ratios: of a token, or of a sequence (GSPO); the cap on engine mismatch
reduction    what a token weighs: GRPO, Dr.GRPO, DAPO
divergence   k1, k2, k3 estimates of the divergence from a reference
policy_loss  the parts put together
"""

from strive_rl.loss.inputs import Objective, TokenBatch
from strive_rl.loss.policy_loss import policy_loss

__all__ = ["Objective", "TokenBatch", "policy_loss"]
