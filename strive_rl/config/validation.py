"""Settings of validation: how a run measures itself on a held-out build while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from strive_data.common.settings import require


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """How a run with `--heldout BUILD` evaluates its policy: greedily, every `every` steps and at the end.

    `sampler` chooses the frames: "training", those of training (data.sampler, else the sampler of the build),
    or a name as in `strive-rl eval`. `questions` asks that many of the build, always the
    same ones, spread evenly over it; None asks all. The checkpoint of the highest accuracy stays beside the
    newest ones. `patience` ends the run after that many evaluations in a row without a higher accuracy; 0
    never does.
    """

    every: int = 50
    sampler: str = "training"
    questions: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        require(self.every >= 1, f"validation.every: got {self.every}, expected at least 1")
        require(self.patience >= 0, f"validation.patience: got {self.patience}, expected at least 0")
        few = self.questions
        require(few is None or few >= 1, f"validation.questions: got {few}, expected at least 1")
