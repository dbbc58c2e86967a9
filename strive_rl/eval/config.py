"""Settings of `strive-rl eval`, on shards and on a benchmark's own videos, and the names of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from strive_data.common.settings import ADDED, at_least, require
from strive_data.config import DecodeSettings, SamplerSettings, require_candidates
from strive_data.config import ScoreSettings as FrameScoreSettings
from strive_rl.config import EngineSettings, PolicySettings

PREDICTIONS_FILE = "predictions.jsonl"
FAILURES_FILE = "failures.jsonl"
SCORED_FILE = "scored.jsonl"
JUDGE_FILE = "for_judge.jsonl"
PAGE_FILE = "page.html"
COMPARISON_FILE = "comparison.json"

EQUAL_SCORES = ", all scores equal"
UNIFORM, IMPORTANCE = EVALUATION_SAMPLERS = ("uniform", "importance")
Control = Literal["single", "samples", "frames"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One way of answering: a frame sampler, and how many answers to a question under how many views.

    Each question is shown under `variants` V views of `frames_factor` times K frames; `completions` G are
    sampled of each at `temperature`, 0 for greedy. `name` is that of the sampler, of a control with
    `-single`, `-samples` or `-frames` behind it.
    """

    name: str
    sampler: str
    variants: int = 1
    frames_factor: int = 1
    completions: int = 1
    temperature: float = 0.0

    @property
    def answers(self) -> int:
        """Answers to each question."""
        return self.variants * self.completions

    @property
    def way(self) -> str:
        """The column in words, without its sampler."""
        views = f"{self.variants} variants" if self.variants > 1 else "one view"
        more = f" of {self.frames_factor}·K frames" if self.frames_factor > 1 else ""
        samples = f", {self.completions} samples each" if self.completions > 1 else ""
        return f"{views}{more}{samples}"


@dataclass(frozen=True, kw_only=True)
class EvalSettings(EngineSettings):
    """How a model is evaluated by frame sampler, with intervals by bootstrap over videos.

    `temperature` 0 is greedy. At a higher one `completions` of each view are sampled, by `seed`, and each
    question counts with the mean over its answers. Under `variants` V interleaved variants there are V times
    as many. With `vote` each question counts with the answer that its answers elect (answers/vote.py).

    `controls` add columns at the same number of answers or frames as the vote over V variants: "single",
    what one view gives; "samples", V times the answers under one view, at temperature 1 where the rest is
    greedy; "frames", V times the frames in one view.
    """

    RETIRED: ClassVar[Mapping[str, str]] = {"answers": "renamed: use completions"} | dict.fromkeys(
        ("prompt", "missing", "decode", "score", "sampler", "quality"),
        "one of eval --benchmark, which reads videos itself; the samples of a build hold their frames",
    )

    policy: PolicySettings = field(default_factory=PolicySettings)
    samplers: tuple[str, ...] = ("uniform", "importance")
    max_new_tokens: int = 768
    temperature: float = 0.0
    completions: int = 1
    variants: int = field(default=1, metadata=ADDED)
    vote: bool = field(default=False, metadata=ADDED)
    controls: tuple[Control, ...] = field(default=(), metadata=ADDED)
    bootstrap_resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_engine(self.temperature)
        at_least(self, "", seed=0, max_new_tokens=1, completions=1, variants=1, bootstrap_resamples=1)
        require(self.temperature >= 0, f"temperature: got {self.temperature}, expected 0 (greedy) or more")
        require(
            self.completions == 1 or self.temperature > 0,
            f"completions: got {self.completions}, but greedy ones are all equal: set temperature too",
        )
        require(len(set(self.samplers)) == len(self.samplers) > 0, "samplers: expected names, each once")
        self._check_vote()

    def _check_vote(self) -> None:
        several = self.variants * self.completions > 1
        require(
            several or not self.vote,
            "vote: got one answer to a question; set variants, or completions and temperature, to 2 or more",
        )
        given = ", ".join(self.controls)
        require(len(set(self.controls)) == len(self.controls), f"controls: got {given}; expected each once")
        require(
            not self.controls or (self.vote and self.variants > 1),
            f"controls: got {given}, but no vote over several variants to compare them with: set vote=true "
            f"and variants to 2 or more (now vote={str(self.vote).lower()}, variants={self.variants})",
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Each sampler's column, its controls behind it."""
        return tuple(column for sampler in self.samplers for column in self._columns_of(sampler))

    def _columns_of(self, sampler: str) -> tuple[Column, ...]:
        own = Column(
            name=sampler,
            sampler=sampler,
            variants=self.variants,
            completions=self.completions,
            temperature=self.temperature,
        )
        controls: dict[Control, Column] = {
            "single": replace(own, variants=1),
            "samples": replace(own, variants=1, completions=own.answers, temperature=self.temperature or 1.0),
            "frames": replace(own, variants=1, frames_factor=self.variants),
        }
        named = (replace(controls[each], name=f"{sampler}-{each}") for each in self.controls)
        return own, *named

    @property
    def questions_per_pass(self) -> int:
        """Questions that are answered together: their prompts of all variants are one pass."""
        return max(1, self.policy.prompts_per_pass // self.variants)


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
    score: FrameScoreSettings = field(default_factory=FrameScoreSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    quality: int = 90

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.quality <= 100, f"quality: got {self.quality}, expected 1 to 100")
        require_candidates(self.sampler, self.decode)


@dataclass(frozen=True, kw_only=True)
class ProbeSettings(EvalSettings):
    """How `strive-rl probe` asks: as an evaluation does, by training's defaults of two variants with four
    completions each at temperature 1."""

    samplers: tuple[str, ...] = ("importance",)
    temperature: float = 1.0
    completions: int = 4
    variants: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        given = ", ".join(self.samplers)
        require(
            len(self.samplers) == 1,
            f"samplers: got {given}, expected one: a table of pass rates is of one way to choose frames",
        )
        require(not self.vote, "vote: got true, but a pass rate counts every completion: leave it out")


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How predictions are read and averaged.

    `missing`: questions without an answer and unusable rows count as wrong, or are left out of the mean.
    `format` is that of the predictions, `recipe` that of the annotation; None: detected from the files.
    `sampler` is the frame sampler, where our own predictions hold several. With `vote` a question may have
    several predictions: the one that they elect counts (answers/vote.py).
    """

    missing: Literal["wrong", "exclude"] = "wrong"
    format: str | None = None
    sampler: str | None = None
    recipe: str | None = None
    bootstrap_resamples: int = 2000
    seed: int = 0
    vote: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        require(
            self.missing in ("wrong", "exclude"), f"missing: got {self.missing!r}, expected wrong or exclude"
        )
        require(self.bootstrap_resamples >= 1, "bootstrap_resamples: expected at least 1")


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """The convention to compare (None: the benchmark's first), the frame sampler of each evaluation
    (`sampler_b` None: the same as A's), and the bootstrap."""

    convention: str | None = None
    sampler: str | None = None
    sampler_b: str | None = None
    bootstrap_resamples: int = 2000
    seed: int = 0
