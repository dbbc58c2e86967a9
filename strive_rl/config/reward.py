"""Settings of the reward."""

from __future__ import annotations

from dataclasses import dataclass, field

from strive_data.common.settings import require


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """The reward is the sum of its parts, each in [0, 1], by their weights (METHOD.md section 6).

    `accuracy` and `format` are this package's. `function`, `package.module:name`, adds a custom one: called
    with (text, Question) it returns a number in [0, 1], the part `custom`, or several by name; its parts
    named accuracy or format replace ours. A part of weight 0 is logged only.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"accuracy": 0.9, "format": 0.1})
    function: str | None = None

    def __post_init__(self) -> None:
        names, total = sorted(self.weights), sum(self.weights.values())
        require(
            {"accuracy", "format"} <= self.weights.keys(),
            f"reward.weights: got {', '.join(names)}; expected a weight for accuracy and format too",
        )
        least = min(self.weights.values())
        require(least >= 0, f"reward.weights: got {least}, expected 0 or more")
        require(abs(total - 1) < 1e-9, f"reward.weights: got a sum of {total:g}, expected 1")
        custom = [name for name in names if name not in ("accuracy", "format")]
        require(
            self.function is not None or not custom,
            f"reward.weights: got {', '.join(custom)} without a reward.function that returns it",
        )
