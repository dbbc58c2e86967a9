"""The parts of the reward of one response, and their weighted sum. No bonus for length or order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from strive_data.errors import UsageError
from strive_data.schema import Question
from strive_rl.answers import final_answer, has_form
from strive_rl.config import RewardSettings
from strive_rl.reward.accuracy import accuracy_of
from strive_rl.reward.own import Own, load_own, own_parts
from strive_rl.schema import Reward


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How responses are rewarded: weights by part, and a user's own function with its name."""

    weights: Mapping[str, float] = field(default_factory=lambda: RewardSettings().weights)
    function: Own | None = None
    name: str = ""


PUBLISHED = Rules()


def load_rules(settings: RewardSettings) -> Rules:
    """The rules that the settings name. Raises UsageError for a function that cannot be imported."""
    if settings.function is None:
        return Rules(weights=settings.weights)
    return Rules(weights=settings.weights, function=load_own(settings.function), name=settings.function)


def score(text: str, question: Question, rules: Rules = PUBLISHED, *, step: int | None = None) -> Reward:
    """Reward of one response `text` to `question`.

    Accuracy reads the last `<answer>` only; a response without one, or with an empty one, has accuracy 0.
    With the package's own parts it is a total function of the text. Raises StriveError that names the step
    and the question where the user's own function fails or breaks its contract, UsageError where its parts
    are not those that have a weight, and ValueError for a question whose own answer cannot be read.
    """
    answer = final_answer(text)
    parts = {
        "accuracy": accuracy_of(answer, question) if answer else 0.0,
        "format": float(has_form(text)),
    }
    if rules.function is not None:
        at = "" if step is None else f"step {step}, "
        where = f"{at}question {question.sample_id}: reward.function {rules.name}"
        parts |= own_parts(rules.function, text, question, where)
        _require_weights(parts, rules, where)
    total = sum(weight * parts[name] for name, weight in rules.weights.items())
    return Reward(total=total, accuracy=parts.pop("accuracy"), format=parts.pop("format"), own=parts)


def _require_weights(parts: Mapping[str, float], rules: Rules, where: str) -> None:
    for name in parts.keys() - rules.weights.keys():
        raise UsageError(
            f"{where} gave {name}, which has no weight; set reward.weights.{name}, 0 to log it only"
        )
    for name in rules.weights.keys() - parts.keys():
        raise UsageError(f"{where} gave no {name}, which has a weight")
