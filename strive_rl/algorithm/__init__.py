"""Advantage, loss, reward: pure functions on arrays, tensors and texts, for any trainer.

The public names; each is imported when it is first used, and none imports the rest of the trainer:

    AlgorithmSettings     which advantage and which loss; the default is STRIVE's
    advantages            rewards [M, G] of one question → advantages [M, G]                     (numpy)
    has_zero_advantage    whether a question's completions all got the same accuracy             (numpy)
    TokenBatch            log-probabilities and mask [B, L], advantages [B]                      (torch)
    policy_loss           a TokenBatch → loss to minimise, and metrics                           (torch)
    Question              what is asked, and the answer that counts
    reward_of             completion text, Question → Reward (total, accuracy, format, custom parts)
    Rules, load_rules     weights of the parts, and a reward function of your own

`tools/examples/train_loop.py` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strive_data.schema import Question
    from strive_rl.algorithm.advantage import advantages, has_zero_advantage
    from strive_rl.algorithm.loss import TokenBatch, policy_loss
    from strive_rl.algorithm.reward import Rules, load_rules, reward_of
    from strive_rl.config import AlgorithmSettings

__all__ = [
    "AlgorithmSettings",
    "Question",
    "Rules",
    "TokenBatch",
    "advantages",
    "has_zero_advantage",
    "load_rules",
    "policy_loss",
    "reward_of",
]

MODULES = {
    "strive_data.schema": ("Question",),
    "strive_rl.config": ("AlgorithmSettings",),
    "strive_rl.algorithm.advantage": ("advantages", "has_zero_advantage"),
    "strive_rl.algorithm.loss": ("TokenBatch", "policy_loss"),
    "strive_rl.algorithm.reward": ("Rules", "load_rules", "reward_of"),
}


def __getattr__(name: str) -> Any:
    from strive_data.common.imports import public

    return public(__name__, name, MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
