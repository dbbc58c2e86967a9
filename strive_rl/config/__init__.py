"""Settings of `strive-rl`, one frozen dataclass a stage. Only what METHOD.md marks [paper] is the paper's."""

from strive_rl.config.reward import (
    RewardSettings,
)
from strive_rl.config.train import (
    DEMO,
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
    "DEMO",
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
