"""Settings of training, one frozen dataclass a stage. Only what is marked [paper] is the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from strive_data.common.settings import at_least, choose, positive, require
from strive_data.config import SAMPLER_NAMES, ViewSettings
from strive_rl.config.rollout import PolicySettings, RewardSettings, RolloutSettings

# The package's tiny models, by level of the rendered world; a name goes before a folder of that name.
DEMOS = {name: f"study/demo_models/{name}" for name in ("demo", "demo-hard")}


# Why each question comes once an epoch (four seeds, the hard rendered world).
SELECTION = "questions drawn by their expected variance scored 2.9 ± .6 points below STRIVE"
# Why α is the same at every step (three seeds with clean scores; four seeds with noisy ones).
ALPHA = "an α that fell from 1 to .4 scored 1.8 ± .4 points below STRIVE, one led by zero advantage .4 ± .6"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which questions a step takes, which of their frames the policy sees, and how they are read.

    `questions_per_step` is the global batch, whatever the number of processes. `window` 0 shuffles a whole
    epoch; another number shuffles the shards, and their samples within windows of that many, so that few
    remote shards are in use at a time. A question whose stored data is damaged stops the run, or with
    `broken = "skip"` is left out of its batch and counted. `cache` is a local folder that keeps remote
    shards. `prefetch` steps are read ahead by `threads` threads.

    `variants` M; `draw = "stored"` takes the variants as the shards hold them, `"epoch"` draws them
    from the stored scores with another offset each epoch (needs shards built with shard.frames=all), `"auto"`
    draws where it can. `sampler` and `alpha` .. `kappa` as in the build; None keeps the build's value.
    `views` as strive_data.config.ViewSettings: crops and resolution tiers, off by default.
    """

    RETIRED: ClassVar[Mapping[str, str]] = {
        "selection": f"removed: {SELECTION}",
        "selection_floor": f"removed with data.selection: {SELECTION}",
        "pass_rates": f"removed with data.selection: {SELECTION}; `strive-rl probe` shows pass rates",
        "alpha_schedule": f"removed: {ALPHA}",
        **dict.fromkeys(
            ("alpha_final", "alpha_steps", "alpha_gain", "alpha_least"),
            f"removed with data.alpha_schedule: {ALPHA}",
        ),
    }

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
        if self.sampler is not None:
            choose(self.sampler, SAMPLER_NAMES, "data.sampler")
        at_least(self, "data.", questions_per_step=1, variants=1, window=0, prefetch=0, threads=1)


Normalise = Literal["joint", "per_variant"]
LossName = Literal["grpo", "dr_grpo", "dapo", "gspo"]
KlEstimator = Literal["k1", "k2", "k3"]

# The cap of importance weights with another engine than the builtin one.
ENGINE_CAP = 2.0

# (clip_low, clip_high) as published: arXiv 2402.03300, 2503.20783, 2503.14476, 2507.18071.
PUBLISHED_CLIP: dict[LossName, tuple[float, float]] = {
    "grpo": (0.2, 0.2),
    "dr_grpo": (0.2, 0.2),
    "dapo": (0.2, 0.28),
    "gspo": (3e-4, 4e-4),
}


@dataclass(frozen=True, kw_only=True)
class AlgorithmSettings:
    """Advantage and loss.

    Advantage. `normalise`: rewards are compared with all M×G of their question ("joint", STRIVE's) or with
    the G of their variant. `divide_by_std`: None is as published, by the std but for Dr.GRPO's loss.

    Loss. `loss_constant_tokens` is the constant that Dr.GRPO divides the token sum of a completion by.
    `clip_low` and `clip_high`: None is the loss's published value (GSPO's ratio is a mean: 3e-4 and 4e-4).
    `kl_beta` weighs the divergence from the first model; with 0 it is neither computed nor loaded.
    `importance_cap` C weighs tokens by min(π_old/π_rollout, C) where rollout and training engines differ;
    None does not, but is ENGINE_CAP with rollout.engine=vllm.

    Updates. A step takes `epochs_per_rollout`·`minibatches` optimizer steps over its rollouts. `old_logprobs`
    in the ratio: "trainer" computes them before the first of these (for a single one they are free: the ratio
    is 1), "rollout" takes those of sampling, whose rounding then counts as a change of policy.
    """

    RETIRED: ClassVar[Mapping[str, str]] = {
        "baseline": "removed: against the mean, leave-one-out scored .8 ± .7 points less, empirical Bayes "
        ".3 ± .2",
        "normalise=both": "removed: it scored 1.1 ± .9 points below STRIVE",
        "logprob_condition": "removed: completions learned under the uniform view scored 5.3 ± .7 points "
        "below STRIVE, those learned under every variant 1.1 ± .7",
    }

    normalise: Normalise = "joint"
    divide_by_std: bool | None = None
    loss: LossName = "grpo"
    clip_low: float | None = None
    clip_high: float | None = None
    loss_constant_tokens: int = 768
    kl_beta: float = 0.0
    kl_estimator: KlEstimator = "k3"
    importance_cap: float | None = None
    epochs_per_rollout: int = 1
    minibatches: int = 1
    old_logprobs: Literal["trainer", "rollout"] = "trainer"
    mask_truncated: bool = False

    def __post_init__(self) -> None:
        at_least(self, "algorithm.", loss_constant_tokens=1, epochs_per_rollout=1, minibatches=1)
        at_least(self, "algorithm.", clip_low=0, clip_high=0, kl_beta=0)
        low, _ = self.clip
        require(low < 1, f"algorithm.clip_low: got {low}, expected less than 1")
        cap = self.importance_cap
        require(cap is None or cap > 0, f"algorithm.importance_cap: got {cap}, expected more than 0")
        require(
            cap is None or self.old_logprobs == "trainer",
            f"algorithm.importance_cap: got {cap} with old_logprobs=rollout, but it caps the ratio of the "
            "trainer's probabilities to the rollout's: set old_logprobs=trainer, or leave the cap out",
        )

    @property
    def clip(self) -> tuple[float, float]:
        """(clip_low, clip_high), the loss's published ones where not given."""
        low, high = PUBLISHED_CLIP[self.loss]
        return (
            low if self.clip_low is None else self.clip_low,
            high if self.clip_high is None else self.clip_high,
        )

    @property
    def by_std(self) -> bool:
        """Whether advantages are divided by the std."""
        return self.loss != "dr_grpo" if self.divide_by_std is None else self.divide_by_std


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """AdamW; its rate rises linearly over `warmup_steps`, then goes by `schedule` from `lr` to `final_lr`.

    It reaches `final_lr` after `decay_steps` steps, warm-up included (None: at the end of the run).
    """

    lr: float = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr: float = 0.0
    decay_steps: int | None = None
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.95)
    warmup_steps: int = 0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "optim.", "lr")
        least = self.final_lr
        require(0 <= least <= self.lr, f"optim.final_lr: got {least}, expected 0 to optim.lr, {self.lr}")
        at_least(self, "optim.", warmup_steps=0, decay_steps=1, weight_decay=0)
        inside = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(inside, f"optim.betas: got {list(self.betas)}, expected two numbers from 0 to below 1")
        # 0 would scale every gradient to nothing, less would turn it around.
        most = self.max_grad_norm
        require(most > 0, f"optim.max_grad_norm: got {most}, expected more than 0; a large one never clips")


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """How a run with `--heldout BUILD` evaluates its policy: greedily, every `every` steps and at the end.

    `sampler` chooses the frames: "training", those of training (data.sampler, else the sampler of the build),
    or a name as in `strive-rl eval`. `questions` asks that many of the build, always the same ones, spread
    evenly over it; None asks all. The checkpoint of the highest accuracy stays beside the newest ones.
    `patience` ends the run after that many evaluations in a row without a higher accuracy; 0 never does.
    """

    every: int = 50
    sampler: str = "training"
    questions: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        at_least(self, "validation.", every=1, patience=0, questions=1)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """All settings of a training run [paper: 1,000 steps].

    A checkpoint is written every `save_every` steps and at the end; the `keep` newest stay, 0 keeps all. A
    process that waits for another longer than `timeout_minutes` ends. `log`: trackers that get the metrics
    beside metrics.jsonl.
    """

    data: DataSettings = field(default_factory=DataSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    reward: RewardSettings = field(default_factory=RewardSettings)
    algorithm: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    steps: int = 1000
    seed: int = 0
    save_every: int = 100
    keep: int = 2
    timeout_minutes: int = 30
    log: tuple[Literal["tensorboard", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        at_least(self, "", seed=0, keep=0, timeout_minutes=1, steps=1, save_every=1)
        require(len(set(self.log)) == len(self.log), f"log: got {', '.join(self.log)}; expected each once")
        views, most = self.data.views, self.policy.max_pixels
        sharp = 2 * views.pixels if "sharp" in views.tiers else 0
        require(sharp <= most, f"policy.max_pixels: got {most}, expected {sharp} or more for sharp frames")
        self._check_groups()
        if self.rollout.engine != "builtin":
            self._correct_for_engine()

    def _correct_for_engine(self) -> None:
        """Another engine rounds differently: its tokens are weighted by default."""
        require(
            self.algorithm.old_logprobs == "trainer",
            "algorithm.old_logprobs: got rollout, expected trainer, since rollout.engine is not builtin",
        )
        if self.algorithm.importance_cap is None:
            object.__setattr__(self, "algorithm", replace(self.algorithm, importance_cap=ENGINE_CAP))

    def _check_groups(self) -> None:
        """A set of one completion has nothing to compare with: its advantage is always 0."""
        variants, completions = self.data.variants, self.rollout.completions
        by_row = self.algorithm.normalise == "per_variant"
        require(
            completions > 1 or (variants > 1 and not by_row),
            f"rollout.completions: got {completions} with data.variants={variants} and algorithm.normalise="
            f"{self.algorithm.normalise}, under which every advantage is 0; expected at least 2",
        )
