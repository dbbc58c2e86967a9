"""Settings of `strive-rl`, one frozen dataclass a stage. Only what is marked [paper] is the paper's."""

from strive_rl.config.reward import (
    JUDGE,
    JUDGE_CALLS_AT_ONCE,
    JUDGE_RETRIES,
    JUDGE_TIMEOUT_SECONDS,
    JudgeSettings,
    RewardSettings,
)
from strive_rl.config.train import (
    DEMOS,
    ENGINE_CAP,
    AlgorithmSettings,
    Condition,
    DataSettings,
    EngineSettings,
    KlEstimator,
    LossName,
    Normalise,
    OptimSettings,
    PolicySettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.config.validation import (
    ValidationSettings,
)

__all__ = [
    "DEMOS",
    "ENGINE_CAP",
    "JUDGE",
    "JUDGE_CALLS_AT_ONCE",
    "JUDGE_RETRIES",
    "JUDGE_TIMEOUT_SECONDS",
    "AlgorithmSettings",
    "Condition",
    "DataSettings",
    "EngineSettings",
    "JudgeSettings",
    "KlEstimator",
    "LossName",
    "Normalise",
    "OptimSettings",
    "PolicySettings",
    "RewardSettings",
    "RolloutSettings",
    "TrainSettings",
    "ValidationSettings",
]
