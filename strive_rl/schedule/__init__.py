"""What changes from step to step by a rule: the learning rate, and how focused the variants are. Pure.

rate    the learning rate
alpha   α of the variants: by the step, or by what the step before it gave
"""

from strive_rl.schedule.alpha import NOTHING, Outcome, following_alpha, outcome, require_alpha
from strive_rl.schedule.rate import learning_rate

__all__ = ["NOTHING", "Outcome", "following_alpha", "learning_rate", "outcome", "require_alpha"]
