"""The reward of a response (METHOD.md section 6): 0.9·accuracy + 0.1·format, or as the settings weigh it.

accuracy  how right a bare answer is, by problem type
own       a user's own function, by import path, held to its contract
score     the parts of one response, and their weighted sum
"""

from strive_rl.reward.accuracy import accuracy_of, mean_relative_accuracy
from strive_rl.reward.score import PUBLISHED, Rules, load_rules, score

__all__ = ["PUBLISHED", "Rules", "accuracy_of", "load_rules", "mean_relative_accuracy", "score"]
