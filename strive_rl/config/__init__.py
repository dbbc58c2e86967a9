"""Settings of `strive-rl`, one frozen dataclass a stage. Only what is marked [paper] is the paper's."""

from strive_rl.config.rollout import (
    JUDGE,
    JUDGE_CALLS_AT_ONCE,
    JUDGE_RETRIES,
    JUDGE_TIMEOUT_SECONDS,
    VLLM_MODELS,
    EngineSettings,
    JudgeSettings,
    PolicySettings,
    RewardSettings,
    RolloutSettings,
)
from strive_rl.config.train import (
    DEMOS,
    ENGINE_CAP,
    AlgorithmSettings,
    DataSettings,
    KlEstimator,
    LossName,
    Normalise,
    OptimSettings,
    TrainSettings,
    ValidationSettings,
)

__all__ = [
    "DEMOS",
    "ENGINE_CAP",
    "JUDGE",
    "JUDGE_CALLS_AT_ONCE",
    "JUDGE_RETRIES",
    "JUDGE_TIMEOUT_SECONDS",
    "VLLM_MODELS",
    "AlgorithmSettings",
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
