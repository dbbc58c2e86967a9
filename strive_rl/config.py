"""Settings of `strive-rl`, one frozen dataclass a stage. Only what METHOD.md marks [paper] is the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from strive_data.config import ViewSettings
from strive_data.settings import require

# The name of the tiny model of the package, whatever folder of that name there may be.
DEMO = "demo"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which questions a step takes, which frames of them the policy sees, and how they are read.

    `questions_per_step` is the global batch, whatever the number of processes. `window` 0 shuffles a whole
    epoch; another number shuffles the shards, and their samples within windows of that many, so that few
    remote shards are in use at a time. `broken` says what becomes of a question whose stored data is damaged:
    it stops the run, or is left out of its batch and counted. `cache` is a local folder that keeps remote
    shards. `prefetch` steps are read ahead by `threads` threads.

    `variants` M; `draw = "stored"` takes the variants as the shards hold them, `"epoch"` draws them anew
    from the stored scores with a new phase each epoch (needs shards built with shard.frames=all), `"auto"`
    draws where it can. `sampler` and `alpha` .. `kappa` as in the build; None keeps the build's value.
    `views` as strive_data.config.ViewSettings: crops and resolution tiers, off by default.
    """

    questions_per_step: int = 8
    variants: int = 2
    draw: Literal["auto", "stored", "epoch"] = "auto"
    sampler: str | None = None
    alpha: float | None = None
    epsilon: float | None = None
    kappa: float | None = None
    views: ViewSettings = field(default_factory=ViewSettings)
    window: int = 0
    broken: Literal["stop", "skip"] = "stop"
    cache: str | None = None
    prefetch: int = 1
    threads: int = 2

    def __post_init__(self) -> None:
        least = {"questions_per_step": 1, "variants": 1, "window": 0, "prefetch": 0, "threads": 1}
        for name, smallest in least.items():
            got = getattr(self, name)
            require(got >= smallest, f"data.{name}: got {got}, expected at least {smallest}")


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """How the model is loaded and run. `max_pixels` bounds a frame (128·28² = 100,352).

    `frame_pairs`: the models merge two frames into one temporal patch. "consecutive" merges the view's frames
    two by two as they come; "doubled" repeats each, so that a patch shows one moment; "neighbours" puts the
    next candidate of the video beside each (needs shards with all frames). The last two give a patch, and so
    twice the tokens, to each frame. `over_length` says what becomes of a question whose prompt is longer than
    `max_prompt_tokens`: it is dropped and counted, or stops the run; nothing is ever cut.

    `prompts_per_pass` are read and sampled together, `groups_per_pass` questions go through one backward
    pass: both bound the memory, as does `logits_chunk_tokens`, the tokens whose logits are held at a time.
    `attention`: "dense" is one mask over the whole row, "split" needs none over the prompt, "auto" takes the
    second for long rows; they agree but for rounding. `lora_rank` 0 trains all weights of the language model,
    another number adapters of that rank beside frozen weights, their output scaled by `lora_scale`.
    """

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
    attention: Literal["auto", "dense", "split"] = "auto"
    prompts_per_pass: int = 64
    groups_per_pass: int = 8
    logits_chunk_tokens: int = 1024

    def __post_init__(self) -> None:
        counts = (
            "max_pixels",
            "max_prompt_tokens",
            "prompts_per_pass",
            "groups_per_pass",
            "logits_chunk_tokens",
        )
        for name in counts:
            got = getattr(self, name)
            require(got >= 1, f"policy.{name}: got {got}, expected at least 1")
        require(self.lora_rank >= 0, f"policy.lora_rank: got {self.lora_rank}, expected at least 0")
        require(self.lora_scale > 0, f"policy.lora_scale: got {self.lora_scale}, expected more than 0")
        both = self.lora_rank > 0 and self.train_vision
        require(
            not both, "policy.lora_rank trains adapters of the language model only: leave train_vision off"
        )


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """How answers are sampled: `completions` G for each variant [paper: 4]."""

    completions: int = 4
    max_new_tokens: int = 768
    temperature: float = 1.0

    def __post_init__(self) -> None:
        require(self.completions >= 1, f"rollout.completions: got {self.completions}, expected at least 1")
        require(self.max_new_tokens >= 1, "rollout.max_new_tokens: expected at least 1")
        require(self.temperature > 0, f"rollout.temperature: got {self.temperature}, expected more than 0")


@dataclass(frozen=True, kw_only=True)
class AlgorithmSettings:
    """Advantage and loss (METHOD.md section 5). `normalise = "joint"` over the M×G grid is STRIVE's.

    `loss_constant_tokens` is the constant that Dr.GRPO divides a response's token sum by.
    """

    normalise: Literal["joint", "per_variant", "both"] = "joint"
    divide_by_std: bool = True
    loss: Literal["grpo", "dr_grpo"] = "grpo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    loss_constant_tokens: int = 768


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """AdamW with linear warm-up, then constant."""

    lr: float = 1e-6
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.95)
    warmup_steps: int = 0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr: got {self.lr}, expected more than 0")
        require(len(self.betas) == 2, "optim.betas: expected two numbers")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """All settings of a training run [paper: 1,000 steps]."""

    data: DataSettings = field(default_factory=DataSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    algorithm: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    steps: int = 1000
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed: got {self.seed}, expected at least 0")
        require(self.steps >= 1, f"steps: got {self.steps}, expected at least 1")
        require(self.save_every >= 1, f"save_every: got {self.save_every}, expected at least 1")
        views, most = self.data.views, self.policy.max_pixels
        sharp = 2 * views.pixels if "sharp" in views.tiers else 0
        require(sharp <= most, f"policy.max_pixels: got {most}, expected {sharp} or more for sharp frames")


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """How a model is evaluated: greedy answers by frame sampler, intervals by bootstrap over videos."""

    policy: PolicySettings = field(default_factory=PolicySettings)
    samplers: tuple[str, ...] = ("uniform", "importance")
    max_new_tokens: int = 768
    bootstrap_resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed: got {self.seed}, expected at least 0")
        require(self.max_new_tokens >= 1, "max_new_tokens: expected at least 1")
        got = self.bootstrap_resamples
        require(got >= 1, f"bootstrap_resamples: got {got}, expected at least 1")
