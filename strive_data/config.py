"""Settings of `strive-data build`, one frozen dataclass a stage, and options of its commands.

Names carry units; ranges are checked on construction. Values marked [paper] are the paper's.
This module imports neither numpy nor polars, so that the command line reports a wrong setting at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from strive_data.common.settings import LIMIT, at_least, choose, positive, require, share
from strive_data.errors import SettingsError

MAX_FRAME_PIXELS = 4096 * 4096
"""Most pixels of a stored frame. A JPEG that claims more is treated as an image bomb and is not decoded."""

ENGINES = ("local", "ray")
SAMPLER_NAMES = ("aks", "bolt", "comb", "gumbel", "peaks", "topk", "uniform")
SCORER_NAMES = (
    *("blip-itm", "cascade", "clip", "demo", "demo-noisy", "flat", "precomputed", "qwen3-vl-reranker"),
    "vlm",
)
DEMO_LEVELS, DEMO_KINDS = ("easy", "hard"), ("moment", "order", "count")
ALL_VARIANTS, UNIFORM = "all", "uniform"
EXPORT_LAYOUTS = ("datasets", "easyr1", "lmms-eval", "messages", "trl", "verl")
SCORER_GROUP = "strive_data.scorers"
"""The group of the entry points by which installed packages offer scorers."""


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """Which frames are decoded, by which reader, at which size.

    `max_pixels` bounds width×height of a stored frame; sides are multiples of `multiple` (28 = patch 14 ×
    merge 2 of Qwen2.5-VL, so that its processor does not resample again). Small videos are never enlarged
    but to the next multiple. `max_source_pixels` bounds width×height of the source: larger frames are taken
    for memory bombs and refused undecoded. `timeout_seconds` and `memory_bytes` (Linux) are what one video
    may cost; what costs more is given up by killing its process, and tried by the other reader once.
    """

    reader: Literal["auto", "pyav", "decord"] = "auto"
    candidates: int = 128
    max_pixels: int = 128 * 28 * 28
    multiple: int = 28
    max_source_pixels: int = 8192 * 8192
    timeout_seconds: float = field(default=600.0, metadata=LIMIT)
    memory_bytes: int = field(default=4 << 30, metadata=LIMIT)

    def __post_init__(self) -> None:
        at_least(self, "decode.", candidates=1, multiple=1, max_source_pixels=1, memory_bytes=1 << 26)
        at_least(self, "decode.", max_pixels=self.multiple**2)
        pixels, most = self.max_pixels, MAX_FRAME_PIXELS
        require(pixels <= most, f"decode.max_pixels: got {pixels}, expected at most {most}")
        positive(self, "decode.", "timeout_seconds")


DEFAULT_MODELS = {
    "blip-itm": "Salesforce/blip-itm-large-coco",
    "clip": "ViT-B-32",
    "qwen3-vl-reranker": "Qwen/Qwen3-VL-Reranker-2B",
    "vlm": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
}


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How frames are scored against the question.

    `scorer = "clip"` takes any open_clip `model` with `pretrained` a tag or a local checkpoint file;
    `"demo"` is the tiny CLIP that comes with the package; `"vlm"` any image-text-to-text `model` of
    transformers, a hub name or a folder; `"qwen3-vl-reranker"` and `"blip-itm"` a `model` of these families;
    `"cascade"` lets `cascade_second` (with `cascade_model`) score again
    the best `cascade_share` of what `cascade_first` (with `model`) scored; `"flat"` scores all frames alike,
    for uniform sampling without an image model; `"precomputed"` reads `scores`, a parquet file or a folder of
    .npy files; else a scorer of the user's own: `package.module:ClassName` or an entry point of the group
    `strive_data.scorers`. An empty model is the scorer's own default.
    `query` says whether the options are part of the query; `windows` how the windows of a long query are
    joined (CLIP only; a language model reads it whole). `batch_size` frames go through the model at once; 0:
    as many as the scorer and its device do best with.
    """

    scorer: str = "clip"
    model: str = ""
    pretrained: str = "openai"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "auto"
    batch_size: int = 0
    query: Literal["question", "question+options"] = "question+options"
    windows: Literal["mean", "max"] = "mean"
    window_overlap_tokens: int = 8
    cascade_first: str = "clip"
    cascade_second: str = "vlm"
    cascade_model: str = ""
    cascade_share: float = 0.25
    scores: str = ""

    def __post_init__(self) -> None:
        # The defaults of the scorers by name, so that what is saved says which model it was.
        cascade = self.scorer == "cascade"
        model = DEFAULT_MODELS.get(self.cascade_first if cascade else self.scorer, "")
        second = DEFAULT_MODELS.get(self.cascade_second, "") if cascade else ""
        object.__setattr__(self, "model", self.model or model)
        object.__setattr__(self, "cascade_model", self.cascade_model or second)
        positive(self, "score.", "cascade_share")
        share(self, "score.", "cascade_share")
        at_least(self, "score.", batch_size=0)
        overlap = self.window_overlap_tokens
        require(0 <= overlap <= 32, f"score.window_overlap_tokens: got {overlap}, expected 0 to 32")


def require_scorer(name: str) -> None:
    """Raise SettingsError for a scorer that is neither of this package, nor a class, nor an entry point."""
    if name not in SCORER_NAMES and ":" not in name:
        from importlib.metadata import entry_points  # Here: it takes long to import, and few names need it.

        choose(name, {*SCORER_NAMES, *entry_points(group=SCORER_GROUP).names}, "scorer")


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """Which frames a variant takes.

    `frames` K and `variants` M [paper: 32, 2]; `alpha` temperature as the share of candidates that the
    density's perplexity covers; `epsilon` share of the uniform floor; `kappa` the largest inclusion of one
    frame (1/variants makes variants disjoint); `seed` keys the offset with the sample id and the epoch.
    The default `peaks` with α = .4 and ε = .6 is our choice, not the paper's: on real scores it meets more
    moments than the plain comb with α = .3 and ε = .5, with gaps as small (strive_data/sampling/README.md).
    `peaks_cells`: each frame of `peaks` is the best of a cell of mass 1/`peaks_cells`, for any number of
    variants, so that one variant is the same kind of view at each; 0: of mass 1/`variants`, which keeps more
    than two variants disjoint.
    The baselines read one setting each: `gumbel_tau` in units of z, `bolt_power`, `aks_threshold` in
    min-max scores.
    `grouping = "semantic"` changes the order in which `comb` and `peaks` walk (samplers.py; needs frame
    embeddings): in `grouping_bins` time bins (0: K/4), `grouping_clusters` clusters (0: √K rounded up),
    `grouping_time` the weight β of time beside the embeddings, `grouping_duplicates` the cosine from which
    two frames count as one (1: never).
    """

    name: str = "peaks"
    frames: int = 32
    variants: int = 2
    alpha: float = 0.4
    epsilon: float = 0.6
    kappa: float = 1.0
    peaks_cells: int = 2
    seed: int = 0
    gumbel_tau: float = 1.0
    bolt_power: float = 3.0
    aks_threshold: float = 0.8
    grouping: Literal["none", "semantic"] = "none"
    grouping_bins: int = 0
    grouping_clusters: int = 0
    grouping_time: float = 0.5
    grouping_duplicates: float = 1.0

    def __post_init__(self) -> None:
        choose(self.name, SAMPLER_NAMES, "sampler")
        even = f"got {self.frames}, expected an even number, 2 or more (the models merge frame pairs)"
        require(self.frames >= 2 and self.frames % 2 == 0, f"sampler.frames: {even}")
        at_least(self, "sampler.", variants=1, peaks_cells=0, seed=0)
        at_least(self, "sampler.", grouping_bins=0, grouping_clusters=0, grouping_time=0)
        positive(self, "sampler.", "alpha", "gumbel_tau", "bolt_power", "grouping_duplicates")
        share(self, "sampler.", "alpha", "epsilon", "aks_threshold", "grouping_duplicates")
        low = 1 / self.variants
        require(low - 1e-9 <= self.kappa <= 1, f"sampler.kappa: got {self.kappa}, expected {low:.3g} to 1")


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """How samples are stored: `frames` keeps the sampled frames only, or all candidates (variants can then
    be drawn again in training); `embeds` keeps the frame embeddings of all candidates as float16; a shard
    closes at `max_samples` or `max_bytes`, whichever comes first."""

    frames: Literal["sampled", "all"] = "sampled"
    quality: int = 90
    embeds: bool = False
    max_samples: int = 512
    max_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 100, f"shard.quality: got {self.quality}, expected 1 to 100")
        at_least(self, "shard.", max_samples=1, max_bytes=1 << 16)


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How variants may differ in space (views.py); off by default, and our own choice.

    Applied at reading, to variants after the first. `crop` shows at most half of a variant's frames through
    one static window of `crop_least_side` to 1 of each side. `tiers` spends a variant's tokens on more
    frames of half the pixels ("coarse") or on fewer frames of twice the pixels ("sharp", which needs stored
    frames of 2·`pixels`). `pixels` bounds a frame of all other views; 0: as stored.
    """

    crop: bool = False
    crop_least_side: float = 0.6
    tiers: tuple[str, ...] = ()
    pixels: int = 0

    def __post_init__(self) -> None:
        side = self.crop_least_side
        require(0.6 <= side <= 0.95, f"views.crop_least_side: got {side}, expected 0.6 to 0.95")
        for tier in self.tiers:
            choose(tier, ("coarse", "sharp"), "views.tiers")
        at_least(self, "views.", pixels=0)
        sharp = "sharp" in self.tiers and not self.pixels
        require(not sharp, "views.tiers: sharp needs views.pixels, the pixels of a frame in the other views")


@dataclass(frozen=True, kw_only=True)
class FailureSettings:
    """When a build stops because too much fails, so that a wrong --data-root is not found out after a day.

    `max_share` of the rows that were tried since the command was started, once `min_rows` of them were tried;
    `max_count` of them, 0: any number. Before anything is decoded the same limits hold for rows whose video
    is not there; other unusable rows of the annotation do not count. No limit changes a byte.
    """

    max_share: float = 0.5
    min_rows: int = 50
    max_count: int = 0

    def __post_init__(self) -> None:
        share(self, "failures.", "max_share")
        at_least(self, "failures.", min_rows=1, max_count=0)


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """All settings of a build; workers and engine are arguments, not settings.

    The bytes of a build depend on all of them but limits (metadata LIMIT), which its fingerprint leaves out.
    A variant's frames are chosen among the candidates, so there must be as many of these; a video that has
    fewer frames than that gives all it has.
    """

    decode: DecodeSettings = field(default_factory=DecodeSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    shard: ShardSettings = field(default_factory=ShardSettings)
    failures: FailureSettings = field(default_factory=FailureSettings, metadata=LIMIT)

    def __post_init__(self) -> None:
        require_candidates(self.sampler, self.decode)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where the Ray engine computes. No option changes a byte of the build.

    `address` of a running cluster ("auto", "host:6379", "ray://host:10001"); empty: a cluster on this machine
    for this build only. `scorers` is the number of scoring actors, 0: one a GPU, at least 1.
    `gpus_per_scorer` may be a fraction; None: 1 if the cluster has GPUs, else 0.
    """

    address: str = ""
    scorers: int = 0
    gpus_per_scorer: float | None = None

    def __post_init__(self) -> None:
        require(self.scorers >= 0, f"--scorers: got {self.scorers}, expected at least 0")
        gpus = self.gpus_per_scorer or 0.0
        allowed = 0 <= gpus < 1 or gpus == int(gpus) > 0
        require(allowed, f"--gpus-per-scorer: got {gpus:g}, expected a whole number or less than 1")


def require_candidates(sampler: SamplerSettings, decode: DecodeSettings) -> None:
    """Raise SettingsError where a variant is to take more frames than there are candidates to choose from."""
    frames, candidates = sampler.frames, decode.candidates
    require(
        frames <= candidates,
        f"sampler.frames: got {frames}, expected at most decode.candidates, {candidates}, from which they "
        "are chosen: lower --frames, or raise decode.candidates (--candidates of a build, or --set)",
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What goes into the rows, beside the layout.

    `variants` are numbers of variants, "uniform" for the uniform control, or "all" for every variant without
    it. `time_stamps` puts its time before each frame of a prompt. `instruction` ends each prompt.
    """

    variants: tuple[str, ...] = (ALL_VARIANTS,)
    time_stamps: bool = False
    instruction: str = ""

    def __post_init__(self) -> None:
        for name in self.variants:
            if name not in (ALL_VARIANTS, UNIFORM) and not re.fullmatch("0|[1-9][0-9]{0,5}", name):
                raise SettingsError(
                    f"--variants: got {name!r}, expected all, uniform, or numbers from 0, separated by commas"
                )
        if not self.variants or (
            ALL_VARIANTS in self.variants and set(self.variants) - {ALL_VARIANTS, UNIFORM}
        ):
            raise SettingsError(
                f"--variants: got {','.join(self.variants)!r}, expected all, or some by number"
            )
        if len(set(self.variants)) < len(self.variants):
            raise SettingsError(f"--variants: got {','.join(self.variants)!r}, expected each variant once")
