"""Settings of the reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from strive_data.common.settings import choose, require

# The value of reward.function that means the packaged judge, and how it is called unless the settings say.
JUDGE = "judge"
OPEN_TYPES = ("free-form",)
JUDGE_CALLS_AT_ONCE, JUDGE_TIMEOUT_SECONDS, JUDGE_RETRIES = 16, 60.0, 3


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """The packaged judge of open answers (`reward.function = "judge"`, strive_rl/answers/judge.py).

    `url` is an OpenAI-compatible endpoint, as http://127.0.0.1:8000/v1, and `model` a model's name there. The
    environment variable `key_variable` holds the key, if the endpoint wants one. `types` are the problem
    types whose accuracy it decides. `temperature` None leaves it to the endpoint.
    """

    url: str = ""
    model: str = ""
    key_variable: str = "OPENAI_API_KEY"
    types: tuple[str, ...] = OPEN_TYPES
    temperature: float | None = 0.0

    def __post_init__(self) -> None:
        if self.types == OPEN_TYPES:
            return
        from strive_data.schema import PROBLEM_TYPES  # Here: it takes longer than an error of arguments may.

        for name in self.types:
            choose(name, PROBLEM_TYPES, "reward.judge.types")


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """The reward is the sum of its parts, each in [0, 1], by their weights.

    `accuracy` and `format` are this package's. `function`, `package.module:name` or `file.py:name`, adds a
    custom one, plain or async: called with (text, Question) it returns a number in [0, 1], the part `custom`,
    or several by name; its parts named accuracy or format replace ours. A part of weight 0 is logged only.
    With `sees = "group"` it is called once a question with ([M][G] texts, Question) and returns [M][G] of
    these. "judge" is the packaged judge, by the settings `judge`.

    `calls_at_once` calls run together, each ends after `timeout_seconds` and is tried again up to `retries`
    times; None is one call after the other, without an end and a second try, and for the judge 16, 60
    and 3. A call that failed to the last stops the run, or with `failed = "skip"` its question is left out of
    the step and counted; it never becomes a 0.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"accuracy": 0.9, "format": 0.1})
    function: str | None = None
    sees: Literal["completion", "group"] = "completion"
    calls_at_once: int | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    failed: Literal["stop", "skip"] = "stop"
    judge: JudgeSettings = field(default_factory=JudgeSettings)

    def __post_init__(self) -> None:
        self._check_calls()
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

    def _check_calls(self) -> None:
        at_once, seconds, retries = self.calls_at_once, self.timeout_seconds, self.retries
        require(at_once is None or at_once >= 1, f"reward.calls_at_once: got {at_once}, expected at least 1")
        require(seconds is None or seconds > 0, f"reward.timeout_seconds: got {seconds}, expected above 0")
        require(retries is None or retries >= 0, f"reward.retries: got {retries}, expected at least 0")
        judge = self.judge
        if self.function != JUDGE:
            require(not judge.url, f"reward.judge.url: got one with function={self.function}, expected judge")
            return
        require(self.sees == "completion", "reward.sees: the judge sees one completion; leave it out")
        require(
            _is_address(judge.url),
            f"reward.judge.url: got {judge.url!r}, expected an address as http://127.0.0.1:8000/v1",
        )
        require(bool(judge.model), "reward.judge.model: expected a model's name at the endpoint")


def _is_address(url: str) -> bool:
    """Whether it is http or https with a host and, where it has one, a possible port. A user and password in
    it would be written to settings.json: the key has a variable."""
    try:
        parts = urlsplit(url)
        plain = "@" not in parts.netloc and not any(map(str.isspace, url)) and parts.port != 0
    except ValueError:  # An impossible port, an open bracket.
        return False
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)
