"""The parts of the reward of one completion, and their weighted sum. No bonus for length or order.

The settings name code to import here and for scorers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from traceback import extract_tb

from strive_data.common.imports import imported
from strive_data.errors import StriveError, UsageError
from strive_data.schema import Question
from strive_rl.answers.accuracy import (
    accuracy_of,
    final_answer,
    has_direct_form,
    has_form,
    outside_thoughts,
)
from strive_rl.config import RewardSettings
from strive_rl.schema import Reward

CustomReward = Callable[[str, Question], object]
"""A user's function of (text, question): a number in [0, 1], or a mapping of such numbers by name."""

# Name of the part of a function that gives one number.
CUSTOM_PART = "custom"


def load_custom(name: str) -> CustomReward:
    """The function `package.module:name`. Raises UsageError where there is none."""
    function: CustomReward = imported(name, "reward.function", "function")
    return function


def custom_parts(function: CustomReward, text: str, question: Question, where: str) -> dict[str, float]:
    """Parts by name, each in [0, 1]. Raises StriveError that begins with `where` for anything else."""
    try:
        result = function(text, question)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # The user's code, sys.exit included: named, and never a 0.
        raise StriveError(f"{where} raised {_described(error)}") from error
    named = result if isinstance(result, Mapping) else {CUSTOM_PART: result}
    return {str(part): _checked(value, part, where) for part, value in named.items()}


def _checked(value: object, part: object, where: str) -> float:
    if not isinstance(part, str) or not part.isidentifier() or part == "total":
        raise StriveError(f"{where} gave a part called {part!r}, expected a plain name other than total")
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise StriveError(f"{where} gave {part} = {value!r}, expected a number from 0 to 1")
    return float(value)


def _described(error: BaseException) -> str:
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How completions are rewarded: weights by part, and a user's function with its name."""

    weights: Mapping[str, float] = field(default_factory=lambda: RewardSettings().weights)
    function: CustomReward | None = None
    name: str = ""


PUBLISHED = Rules()


def load_rules(settings: RewardSettings) -> Rules:
    """The rules that the settings name. Raises UsageError for a function that cannot be imported."""
    if settings.function is None:
        return Rules(weights=settings.weights)
    return Rules(weights=settings.weights, function=load_custom(settings.function), name=settings.function)


def reward_of(
    text: str,
    question: Question,
    rules: Rules = PUBLISHED,
    *,
    reason: bool = True,
    step: int | None = None,
) -> Reward:
    """Reward of one completion `text` to `question`.

    The text includes the thought that a chat template opens. Accuracy reads the last `<answer>` only; a
    completion without one, or with an empty one, has accuracy 0. Where the prompt asks for no reasoning
    (`reason` false), the answer may be bare.

    With the package's own parts it is a total function of the text. Raises StriveError that names the step
    and the question where the user's function fails or breaks its contract, UsageError where its parts
    are not those that have a weight, and ValueError for a question whose own answer cannot be read.
    """
    answer = final_answer(text)
    if not reason and "<answer>" not in text:
        answer = outside_thoughts(text).strip()
    parts = {
        "accuracy": accuracy_of(answer, question) if answer else 0.0,
        "format": float(has_form(text) if reason else has_direct_form(text)),
    }
    if rules.function is not None:
        at = "" if step is None else f"step {step}, "
        where = f"{at}question {question.sample_id}: reward.function {rules.name}"
        parts |= custom_parts(rules.function, text, question, where)
        _require_weights(parts, rules, where)
    total = sum(weight * parts[name] for name, weight in rules.weights.items())
    return Reward(total=total, accuracy=parts.pop("accuracy"), format=parts.pop("format"), custom=parts)


def _require_weights(parts: Mapping[str, float], rules: Rules, where: str) -> None:
    for name in parts.keys() - rules.weights.keys():
        raise UsageError(
            f"{where} gave {name}, which has no weight; set reward.weights.{name}, 0 to log it only"
        )
    for name in rules.weights.keys() - parts.keys():
        raise UsageError(f"{where} gave no {name}, which has a weight")
