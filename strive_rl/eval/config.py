"""Settings of `strive-rl eval`, on shards and on a benchmark's own videos, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from strive_data.common.settings import require
from strive_data.config import DecodeSettings, SamplerSettings, ScoreSettings, require_candidates
from strive_rl.config import EngineSettings, PolicySettings

PREDICTIONS_FILE = "predictions.jsonl"
FAILURES_FILE = "failures.jsonl"
SCORED_FILE = "scored.jsonl"
JUDGE_FILE = "for_judge.jsonl"
PAGE_FILE = "page.html"
COMPARISON_FILE = "comparison.json"
RESULTS_FILE = "results.json"
"""Written last: a folder with it is finished."""


@dataclass(frozen=True, kw_only=True)
class EvalSettings(EngineSettings):
    """How a model is evaluated by frame sampler, with intervals by bootstrap over videos.

    `temperature` 0 is greedy. At a higher one `answers` to each question are sampled, by `seed`, and each
    question counts with the mean over its answers.
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    samplers: tuple[str, ...] = ("uniform", "importance")
    max_new_tokens: int = 768
    temperature: float = 0.0
    answers: int = 1
    bootstrap_resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_engine()
        require(self.seed >= 0, f"seed: got {self.seed}, expected at least 0")
        require(self.max_new_tokens >= 1, "max_new_tokens: expected at least 1")
        require(self.temperature >= 0, f"temperature: got {self.temperature}, expected 0 (greedy) or more")
        require(self.answers >= 1, f"answers: got {self.answers}, expected at least 1")
        require(
            self.answers == 1 or self.temperature > 0,
            f"answers: got {self.answers}, but greedy answers are all equal: set temperature too",
        )
        require(len(set(self.samplers)) == len(self.samplers) > 0, "samplers: expected names, each once")
        got = self.bootstrap_resamples
        require(got >= 1, f"bootstrap_resamples: got {got}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings(EvalSettings):
    """How a model is evaluated on a benchmark's videos.

    `samplers` are uniform and the samplers of a build by name; each gives a column of its own. Uniform takes
    `sampler.frames` K of the N candidates of `decode`, as the control of a build does, so that columns differ
    only in the choice of frames. `decode`, `score` and `sampler` are those of a build, `quality` is that of
    the JPEGs that the policy sees. Frames are scored only for samplers that read scores.

    `prompt`: "reason" asks for a thought before the answer, as in training; "direct" for the answer at once.
    `missing`: questions without an answer count as wrong, or are left out of the mean.
    """

    samplers: tuple[str, ...] = ("uniform",)
    prompt: Literal["reason", "direct"] = "reason"
    missing: Literal["wrong", "exclude"] = "wrong"
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    quality: int = 90

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.quality <= 100, f"quality: got {self.quality}, expected 1 to 100")
        require_candidates(self.sampler, self.decode)
