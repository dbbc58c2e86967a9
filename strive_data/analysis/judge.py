"""Compare samplers on known evidence: samplers × frames × variants × noise → one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import polars as pl

from strive_data.analysis.cases import Case
from strive_data.analysis.measure import METRICS, VideoBootstrap, measure
from strive_data.common.settings import choose, load, require
from strive_data.common.text import table_text
from strive_data.config import SamplerSettings
from strive_data.sampling.comb import EVALUATION_OFFSET, comb_offset
from strive_data.sampling.density import Float64s, spread
from strive_data.sampling.registry import NOISY, SAMPLERS, draw_rows
from strive_data.schema import Indices

Group = list[int]
STORED = "stored"
# The plain comb, always shown beside the defaults.
METHODS_COMB = "comb:alpha=0.3,epsilon=0.5"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared. `samplers` are names, with settings after a colon: `comb:alpha=0.6,epsilon=0.5`.

    `noise`: standard deviations of normal noise added to the scores, in units of their robust spread (one z).
    `drawn_offsets`: the offsets of a first epoch, instead of φ = ½. `resamples` of the bootstrap over videos.
    """

    samplers: tuple[str, ...] = (*sorted(SAMPLERS), METHODS_COMB)
    frames: tuple[int, ...] = (4, 8, 16, 32)
    variants: tuple[int, ...] = (2, 4)
    noise: tuple[float, ...] = (0.0, 1.0)
    drawn_offsets: bool = False
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.noise, default=0) >= 0, f"noise: got {self.noise}, expected 0 or more")
        require(self.resamples >= 1, f"resamples: got {self.resamples}, expected at least 1")
        for name in ("samplers", "frames", "variants", "noise"):
            require(len(getattr(self, name)) > 0, f"{name}: none given, expected at least one")


def compare(
    cases: Sequence[Case], comparison: Comparison, *, base: SamplerSettings | None = None
) -> pl.DataFrame:
    """One row for each sampler, noise, frames and variants, and one for variants that the cases carry.

    Columns: sampler, noise, frames, variants, questions; each of METRICS (`measure.py`), its mean over
    the questions, and `_low` and `_high`, its 95 % interval over videos. `base`: settings that the samplers
    start from. Raises SettingsError for unknown samplers or settings, before anything is drawn.
    """
    plan = [
        (text, replace(settings, frames=frames, variants=variants))
        for (text, settings), frames, variants in product(
            [(text, sampler_settings(text, base)) for text in comparison.samplers],
            comparison.frames,
            comparison.variants,
        )
    ]
    bootstrap = VideoBootstrap(
        [case.video_id for case in cases], resamples=comparison.resamples, seed=comparison.seed
    )
    rows = list(_stored_rows(cases, bootstrap))
    for sigma in comparison.noise:
        scored = list(_noisy(cases, sigma, comparison.seed))
        for text, settings in plan:
            values = _judge(cases, scored, settings, drawn_offsets=comparison.drawn_offsets)
            rows.append(_row(text, sigma, settings.frames, settings.variants, values, bootstrap))
    return pl.DataFrame(rows).with_columns(pl.selectors.float().fill_nan(None))


def sampler_settings(text: str, base: SamplerSettings | None = None) -> SamplerSettings:
    """Settings of a sampler written as `name` or `name:setting=value,setting=value`."""
    name, _, assignments = text.partition(":")
    choose(name, SAMPLERS, "sampler")
    changed = load(SamplerSettings, options={"name": name}, assignments=filter(None, assignments.split(",")))
    if base is None:
        return changed
    given = [item.partition("=")[0].strip() for item in assignments.split(",") if item]
    return replace(base, name=name, **{field: getattr(changed, field) for field in given})


def _groups(cases: Sequence[Case]) -> Iterator[Group]:
    """Positions of the cases of equal length."""
    lengths = np.array([len(case.scores) for case in cases])
    for length in np.unique(lengths):
        yield np.flatnonzero(lengths == length).tolist()


def _noisy(cases: Sequence[Case], sigma: float, seed: int) -> Iterator[tuple[Group, Float64s]]:
    rng = np.random.default_rng(seed)
    for group in _groups(cases):
        scores_QN = np.stack([cases[i].scores for i in group]).astype(np.float64)
        yield group, scores_QN + sigma * spread(scores_QN) * rng.standard_normal(scores_QN.shape)


def _judge(
    cases: Sequence[Case],
    scored: Sequence[tuple[Group, Float64s]],
    settings: SamplerSettings,
    *,
    drawn_offsets: bool,
) -> dict[str, Float64s]:
    values = {metric: np.zeros(len(cases)) for metric in METRICS}
    for group, scores_QN in scored:
        offsets_Q = np.full(len(group), EVALUATION_OFFSET)
        if drawn_offsets or settings.name in NOISY:
            offsets_Q = np.array([comb_offset(settings.seed, cases[i].sample_id, 0) for i in group])
        drawn_QMK = draw_rows(settings.name, scores_QN, settings, offsets_Q=offsets_Q)
        _put(values, cases, group, drawn_QMK)
    return values


def _put(values: dict[str, Float64s], cases: Sequence[Case], group: Group, drawn_QMK: Indices) -> None:
    count = len(cases[group[0]].scores)
    for metric, own_Q in measure(drawn_QMK, [cases[i].moments for i in group], count).items():
        values[metric][group] = own_Q


def _stored_rows(cases: Sequence[Case], bootstrap: VideoBootstrap) -> Iterator[dict[str, object]]:
    """The variants of a build as they are, where all cases carry them; short videos have fewer frames."""
    stored = [case.stored for case in cases if case.stored is not None]
    if len(stored) < len(cases):
        return
    values = {metric: np.zeros(len(cases)) for metric in METRICS}
    for position, variants_MK in enumerate(stored):
        _put(values, cases, [position], variants_MK[None])
    frames, variants = max(row.shape[1] for row in stored), max(row.shape[0] for row in stored)
    yield _row(STORED, 0.0, frames, variants, values, bootstrap)


def _row(
    sampler: str,
    noise: float,
    frames: int,
    variants: int,
    values: dict[str, Float64s],
    bootstrap: VideoBootstrap,
) -> dict[str, object]:
    row: dict[str, object] = {"sampler": sampler, "noise": noise, "frames": frames, "variants": variants}
    row["questions"] = len(values[METRICS[0]])
    for metric in METRICS:
        low, high = bootstrap.interval(values[metric])
        row |= {metric: float(values[metric].mean()), f"{metric}_low": low, f"{metric}_high": high}
    return row


SETTINGS = ("noise", "frames", "variants", "sampler")


def as_text(table: pl.DataFrame) -> str:
    """Each metric as mean ± half its 95 % interval; samplers beside each other for equal frames."""
    shown = table.sort("noise", "frames", "variants", maintain_order=True).select(
        *SETTINGS, *(_with_interval(metric) for metric in METRICS)
    )
    return table_text(shown)


def _with_interval(metric: str) -> pl.Expr:
    half = (pl.col(f"{metric}_high") - pl.col(f"{metric}_low")) / 2
    mean = pl.col(metric).map_elements(lambda value: f"{value:.3f}", return_dtype=pl.String)
    width = half.map_elements(lambda value: f"±{value:.3f}".replace("±0", "±"), return_dtype=pl.String)
    return pl.concat_str(mean, width).fill_null("–").alias(metric)
