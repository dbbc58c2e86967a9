"""Settings of what makes completions and rewards them: the policy, the engine that samples, the reward."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from strive_data.common.settings import at_least, choose, positive, require

# Why there are no adaptive variants (six seeds, importance-aware frames).
ADAPTIVE = "adaptive variants scored 1.5 points below STRIVE at the same number of rollouts"


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """How the model is loaded and run. `max_pixels` bounds a frame (128·28² = 100,352).

    `frame_pairs`: the models merge two frames into one temporal patch. "consecutive" merges the view's frames
    two by two as they come; "doubled" repeats each, so that a patch shows one moment; "neighbours" puts the
    next candidate of the video beside each (needs shards with all frames). The last two give a patch, and so
    twice the tokens, to each frame. A question whose prompt is longer than `max_prompt_tokens` is
    dropped and counted, or with `over_length = "stop"` stops the run; nothing is ever cut.

    `prompts_per_pass` are read and sampled together, `groups_per_pass` questions go through one backward
    pass, and gradients add up: both bound the memory, as does `logits_chunk_tokens`, the tokens whose logits
    are held at a time. `cuda_graphs`: on a GPU, sampling replays a captured decode step. `lora_rank` 0 trains
    all weights of the language model, another number adapters of that rank beside frozen weights, their
    output scaled by `lora_scale`.
    """

    RETIRED: ClassVar[Mapping[str, str]] = {
        "attention": "removed: no way of attention needs a mask; leave it out"
    }

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_pixels: int = 128 * 28 * 28
    frame_pairs: Literal["consecutive", "doubled", "neighbours"] = "consecutive"
    max_prompt_tokens: int = 16_384
    over_length: Literal["drop", "stop"] = "drop"
    train_vision: bool = False
    lora_rank: int = 0
    lora_scale: float = 2.0
    gradient_checkpointing: bool = False
    cuda_graphs: bool = True
    prompts_per_pass: int = 64
    groups_per_pass: int = 1
    logits_chunk_tokens: int = 1024

    def __post_init__(self) -> None:
        at_least(self, "policy.", max_pixels=1, max_prompt_tokens=1, logits_chunk_tokens=1)
        at_least(self, "policy.", prompts_per_pass=1, groups_per_pass=1, lora_rank=0)
        known = re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", self.device)
        require(
            bool(known),
            f"policy.device: got {self.device!r}, expected auto, cpu, cuda or cuda:N (several GPUs: leave it "
            "out and start with torchrun)",
        )
        positive(self, "policy.", "lora_scale")
        both = self.lora_rank > 0 and self.train_vision
        require(
            not both, "policy.lora_rank trains adapters of the language model only: leave train_vision off"
        )


# Kinds of models (`model_type`) of which tests compare the vllm engine with the builtin one.
VLLM_MODELS = ("qwen2_5_vl", "qwen3_vl")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What samples completions: "builtin", the policy's loop, or "vllm", an engine with its own weights.

    `gpu_memory_utilization`, `tensor_parallel_size` and `sleep` are vLLM's: its share of a GPU's memory, how
    many successive processes share one copy, and whether it frees its memory while the policy is updated.
    """

    engine: Literal["builtin", "vllm"] = "builtin"
    gpu_memory_utilization: float = 0.4
    tensor_parallel_size: int = 1
    sleep: bool = True

    def _check_engine(self, temperature: float, section: str = "") -> None:
        share = self.gpu_memory_utilization
        require(0 < share < 1, f"{section}gpu_memory_utilization: got {share}, expected between 0 and 1")
        at_least(self, section, tensor_parallel_size=1)
        # vLLM samples at .01 where less is asked for, and refuses more than 2; 0 is greedy.
        require(
            self.engine == "builtin" or temperature == 0 or 0.01 <= temperature <= 2,
            f"{section}temperature: got {temperature}, expected .01 to 2 with {section}engine=vllm",
        )


@dataclass(frozen=True, kw_only=True)
class RolloutSettings(EngineSettings):
    """How completions are sampled: `completions` G for each variant [paper: 4].

    `dynamic_sampling_rounds`: at most so many times a step samples new questions in place of those whose
    completions all get the same accuracy (DAPO's dynamic sampling, strive_rl/train/collect.py); 0 never does.
    """

    RETIRED: ClassVar[Mapping[str, str]] = {
        "refill_rounds": "renamed: use rollout.dynamic_sampling_rounds",
        "adaptive": f"removed: {ADAPTIVE}",
        "max_variants": f"removed with rollout.adaptive: {ADAPTIVE}",
        "focus": f"removed with rollout.adaptive: {ADAPTIVE}",
    }

    completions: int = 4
    max_new_tokens: int = 768
    temperature: float = 1.0
    dynamic_sampling_rounds: int = 0

    def __post_init__(self) -> None:
        self._check_engine(self.temperature, "rollout.")
        at_least(self, "rollout.", completions=1, max_new_tokens=1, dynamic_sampling_rounds=0)
        positive(self, "rollout.", "temperature")


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
        at_least(self, "reward.judge.", temperature=0)
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
        at_least(self, "reward.", calls_at_once=1, retries=0)
        judge, seconds = self.judge, self.timeout_seconds
        require(seconds is None or seconds > 0, f"reward.timeout_seconds: got {seconds}, expected above 0")
        if self.function != JUDGE:
            require(
                not judge.url,
                f"reward.judge.url is of the packaged judge, but reward.function is "
                f"{self.function or 'not set'}: set it to judge, or leave the url out",
            )
            return
        require(
            self.sees == "completion",
            f"reward.sees: got {self.sees}, but the packaged judge grades one completion at a time: leave it "
            "out",
        )
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
