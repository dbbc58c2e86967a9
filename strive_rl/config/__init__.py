"""Settings of `strive-rl`, one frozen dataclass a stage. Only what METHOD.md marks [paper] is the paper's."""

from strive_rl.config.reward import (
    RewardSettings,
)
from strive_rl.config.train import (
    DEMOS,
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
    "AlgorithmSettings",
    "Condition",
    "DataSettings",
    "EngineSettings",
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
