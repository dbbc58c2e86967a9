"""The parts of the reward of one completion, and their weighted sum. No bonus for length or order.

The settings name code to import here and for scorers only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

from strive_data.common.imports import imported
from strive_data.common.text import short_repr
from strive_data.errors import StriveError, UsageError
from strive_data.schema import Question
from strive_rl.answers.accuracy import (
    accuracy_of,
    final_answer,
    has_direct_form,
    has_form,
    outside_thoughts,
)
from strive_rl.common.calls import CallLimits, Outcome, call_all
from strive_rl.config import JUDGE, JUDGE_CALLS_AT_ONCE, JUDGE_RETRIES, JUDGE_TIMEOUT_SECONDS, RewardSettings
from strive_rl.schema import Reward

CustomReward = Callable[..., Any]
"""A user's function of (text, question): a number in [0, 1], or a mapping of such numbers by name; plain or
async. One that sees the group takes ([M][G] texts, question) and gives [M][G] of these."""

Texts = Sequence[Sequence[str]]
Grid = tuple[tuple[Reward, ...], ...]

# Name of the part of a function that gives one number.
CUSTOM_PART = "custom"


def custom_parts(result: object, where: str) -> dict[str, float]:
    """Parts by name, each in [0, 1], of what a user's function returned. Raises StriveError that begins with
    `where` for anything else."""
    parts: dict[str, float] = {}
    for part, value in (result if isinstance(result, Mapping) else {CUSTOM_PART: result}).items():
        if not isinstance(part, str) or not part.isidentifier() or part == "total":
            raise StriveError(f"{where} gave a part called {part!r}, expected a plain name other than total")
        if not isinstance(value, Real) or value < 0 or not value <= 1:
            raise StriveError(f"{where} gave {part} = {_shown(value)}, expected a number from 0 to 1")
        parts[part] = float(value)
    return parts


def _shown(value: object) -> str:
    """The value on one line: arrays and tensors show theirs on several."""
    return " ".join(short_repr(value).split())


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How completions are rewarded: weights by part, and a user's function with its name and how it is
    called. `skip`: a question whose call fails is left out, and does not stop the run."""

    weights: Mapping[str, float] = field(default_factory=lambda: RewardSettings().weights)
    function: CustomReward | None = None
    name: str = ""
    sees_group: bool = False
    limits: CallLimits = field(default_factory=CallLimits)
    skip: bool = False


PUBLISHED = Rules()


def load_rules(settings: RewardSettings, judge_cache: Path | None = None) -> Rules:
    """The rules that the settings name; `judge_cache` is the file of the packaged judge's grades.

    Raises UsageError for a function that cannot be imported.
    """
    if settings.function is None:
        return Rules(weights=settings.weights)
    judged = settings.function == JUDGE
    seconds = settings.timeout_seconds or (JUDGE_TIMEOUT_SECONDS if judged else None)
    at_once = settings.calls_at_once or (JUDGE_CALLS_AT_ONCE if judged else 1)
    retries = settings.retries if settings.retries is not None else (JUDGE_RETRIES if judged else 0)
    function: CustomReward
    if judged and seconds:
        from strive_rl.answers.judge import Judge

        function = Judge(settings.judge, seconds, judge_cache)
    else:
        function = imported(settings.function, "reward.function", "function")
    return Rules(
        weights=settings.weights,
        function=function,
        name=settings.function,
        sees_group=settings.sees == "group",
        limits=CallLimits(at_once=at_once, timeout_seconds=seconds, retries=retries),
        skip=settings.failed == "skip",
    )


def require_reward(settings: RewardSettings) -> None:
    """Raise UsageError for a function that cannot be imported, and for a judge that cannot be reached."""
    load_rules(settings)
    if settings.function == JUDGE:
        from strive_rl.answers.judge import require_judge

        require_judge(settings.judge)


def reward_of(text: str, question: Question, rules: Rules = PUBLISHED, *, reason: bool = True) -> Reward:
    """Reward of one completion `text` to `question`.

    The text includes the thought that a chat template opens. Accuracy reads the last `<answer>` only; a
    completion without one, or with an empty one, has accuracy 0. Where the prompt asks for no reasoning
    (`reason` false), the answer may be bare.

    With the package's own parts it is a total function of the text. Raises StriveError that names the
    question where the user's function fails or breaks its contract, UsageError where its parts are not those
    that have a weight, and ValueError for a question whose own answer cannot be read.
    """
    (grid,), _ = rewards_of([([[text]], question)], rules, reason=reason)
    if isinstance(grid, StriveError):
        raise grid
    return grid[0][0]


def rewards_of(
    asked: Sequence[tuple[Texts, Question]],
    rules: Rules = PUBLISHED,
    *,
    reason: bool = True,
    step: int | None = None,
) -> tuple[list[Grid | StriveError], Counter[str]]:
    """Rewards of the completions [M][G] of several questions, as `reward_of`; a user's function is called for
    all of them together, and its calls are counted: those `made`, `retried`, and `failed` at the last try.

    A call that fails gives its question a StriveError; what breaks the contract is raised.
    """
    # The calls of a question: one, or one for each completion.
    jobs: list[list[tuple[Any, ...]]] = [
        [([list(row) for row in texts], question)]
        if rules.sees_group
        else [(text, question) for row in texts for text in row]
        for texts, question in asked
    ]
    outcomes: list[Outcome] = []
    if rules.function is not None:
        outcomes = call_all(rules.function, [each for job in jobs for each in job], rules.limits)
    rest = iter(outcomes)
    at = "" if step is None else f"step {step}, "
    grids: list[Grid | StriveError] = []
    for job, (texts, question) in zip(jobs, asked, strict=True):
        where = f"{at}question {question.sample_id}: reward.function {rules.name}"
        results = _results(list(islice(rest, len(job))), texts, rules, where)
        if isinstance(results, StriveError):
            grids.append(results)
            continue
        reward = partial(_reward, question=question, rules=rules, reason=reason, where=where)
        rows = zip(texts, results, strict=True)
        grids.append(tuple(tuple(map(reward, row, own)) for row, own in rows))
    retried = sum(outcome.tries > 1 for outcome in outcomes)
    failed = sum(outcome.error is not None for outcome in outcomes)
    counts = Counter(made=len(outcomes), retried=retried, failed=failed)
    return grids, counts if rules.function else Counter()


def _results(
    outcomes: Sequence[Outcome], texts: Texts, rules: Rules, where: str
) -> list[list[Any]] | StriveError:
    """What the function returned for each completion [M][G], None without one, or the error of a call."""
    if rules.function is None:
        return [[None for _ in row] for row in texts]
    for outcome in outcomes:
        if isinstance(outcome.error, StriveError):
            raise outcome.error
        if outcome.error is not None:
            failure = StriveError(f"{where} {outcome.failure}")
            failure.__cause__ = outcome.error
            return failure
    if not rules.sees_group:
        rest = iter(outcomes)
        return [[next(rest).value for _ in row] for row in texts]
    value = outcomes[0].value
    shape = [len(row) for row in texts]
    nested = isinstance(value, Sequence) and all(isinstance(row, Sequence) for row in value)
    if not nested or [len(row) for row in value] != shape:
        raise StriveError(
            f"{where} gave {_shown(value)}, expected lists of lengths {shape}, one for each variant"
        )
    return [list(row) for row in value]


def _reward(text: str, result: object, question: Question, rules: Rules, reason: bool, where: str) -> Reward:
    answer = final_answer(text)
    if not reason and "<answer>" not in text:
        answer = outside_thoughts(text).strip()
    parts = {
        "accuracy": accuracy_of(answer, question) if answer else 0.0,
        "format": float(has_form(text) if reason else has_direct_form(text)),
    }
    if rules.function is not None:
        parts |= custom_parts(result, where)
        for name in parts.keys() - rules.weights.keys():
            raise UsageError(
                f"{where} gave {name}, which has no weight; set reward.weights.{name}, 0 to log it only"
            )
        for name in rules.weights.keys() - parts.keys():
            raise UsageError(f"{where} gave no {name}, which has a weight")
    total = sum(weight * parts[name] for name, weight in rules.weights.items())
    return Reward(total=total, accuracy=parts.pop("accuracy"), format=parts.pop("format"), custom=parts)
