"""Compare samplers on known evidence: samplers × frames × variants × noise → one table.

Drawn frames against known moments, in numbers, with intervals over videos. Shapes: Q cases of equal length, N
candidates, M variants, K frames, R moments of all cases together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from strive_data.common.settings import choose, load, require
from strive_data.common.text import table_text
from strive_data.config import SamplerSettings
from strive_data.inspect.cases import Case, Moment
from strive_data.sampling.comb import EVALUATION_OFFSET, Float64s, comb_offset, spread
from strive_data.sampling.samplers import NOISY, SAMPLERS, draw, draw_rows, needs_embeddings, require_order
from strive_data.schema import Indices

Group = list[int]
STORED = "stored"
# The plain comb, always shown beside the defaults.
METHODS_COMB = "comb:alpha=0.3,epsilon=0.5"


def compare(
    cases: Sequence[Case],
    *,
    samplers: Sequence[str] = (*sorted(SAMPLERS), METHODS_COMB),
    frames: Sequence[int] = (4, 8, 16, 32),
    variants: Sequence[int] = (2, 4),
    noise: Sequence[float] = (0.0, 1.0),
    drawn_offsets: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    base: SamplerSettings | None = None,
) -> pl.DataFrame:
    """One row for each sampler, noise, frames and variants, and one for variants that the cases carry.

    `samplers` are names, with settings after a colon: `comb:alpha=0.6,epsilon=0.5`; `base`: settings that
    they start from. `noise`: standard deviations of normal noise added to the scores, in units of their
    robust spread (one z). `drawn_offsets`: the offsets of a first epoch, instead of φ = ½. `resamples` of the
    bootstrap over videos.

    Columns: sampler, noise, frames, variants, questions; each of METRICS, its mean over the questions, and
    `_low` and `_high`, its 95 % interval over videos. Raises SettingsError for unknown samplers or settings,
    before anything is drawn.
    """
    require(min(noise) >= 0, f"noise: got {noise}, expected 0 or more")
    plan = [
        (text, replace(settings, frames=count, variants=views))
        for (text, settings), count, views in product(
            [(text, sampler_settings(text, base)) for text in samplers], frames, variants
        )
    ]
    bootstrap = VideoBootstrap([case.video_id for case in cases], resamples=resamples, seed=seed)
    rows: list[dict[str, object]] = []

    def judge(drawn: Iterable[tuple[Group, Indices]], **row: object) -> None:
        row["questions"] = len(cases)
        for metric, values in _judge(cases, drawn).items():
            low, high = bootstrap.interval(values)
            row |= {metric: float(values.mean()), f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)

    stored = [case.stored for case in cases if case.stored is not None]
    if len(stored) == len(cases):  # the variants of a build as they are; short videos have fewer frames
        views, count = (max(row_MK.shape[axis] for row_MK in stored) for axis in (0, 1))
        own = (([place], row_MK[None]) for place, row_MK in enumerate(stored))
        judge(own, sampler=STORED, noise=0.0, frames=count, variants=views)
    for sigma in noise:
        scored = list(_noisy(cases, sigma, seed))
        for text, settings in plan:
            drawn = _drawn(cases, scored, settings, drawn_offsets=drawn_offsets)
            sizes = {"frames": settings.frames, "variants": settings.variants}
            judge(drawn, sampler=text, noise=sigma, **sizes)
    return pl.DataFrame(rows).with_columns(pl.selectors.float().fill_nan(None))


def sampler_settings(text: str, base: SamplerSettings | None = None) -> SamplerSettings:
    """Settings of a sampler written as `name` or `name:setting=value,setting=value`."""
    name, _, assignments = text.partition(":")
    choose(name, SAMPLERS, "sampler")
    changed = load(SamplerSettings, options={"name": name}, assignments=filter(None, assignments.split(",")))
    require_order(changed)
    if base is None:
        return changed
    given = [item.partition("=")[0].strip() for item in assignments.split(",") if item]
    return replace(base, name=name, **{field: getattr(changed, field) for field in given})


def _noisy(cases: Sequence[Case], sigma: float, seed: int) -> Iterator[tuple[Group, Float64s]]:
    """The positions of the cases of each length, and their scores with noise."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(case.scores) for case in cases])
    for length in np.unique(lengths):
        group = np.flatnonzero(lengths == length).tolist()
        scores_QN = np.stack([cases[i].scores for i in group]).astype(np.float64)
        yield group, scores_QN + sigma * spread(scores_QN) * rng.standard_normal(scores_QN.shape)


def _drawn(
    cases: Sequence[Case],
    scored: Sequence[tuple[Group, Float64s]],
    settings: SamplerSettings,
    *,
    drawn_offsets: bool,
) -> Iterator[tuple[Group, Indices]]:
    for group, scores_QN in scored:
        offsets_Q = np.full(len(group), EVALUATION_OFFSET)
        if drawn_offsets or settings.name in NOISY:
            offsets_Q = np.array([comb_offset(settings.seed, cases[i].sample_id, 0) for i in group])
        if not needs_embeddings(settings):
            yield group, draw_rows(settings.name, scores_QN, settings, offsets_Q=offsets_Q)
            continue
        for i, scores_N, offset in zip(group, scores_QN, offsets_Q, strict=True):
            own, at = cases[i], float(offset)
            drawn_MK = draw(
                settings.name, scores_N, settings, offset=at, embeddings=own.embeddings, times=own.times
            )
            yield [i], drawn_MK[None]


def _judge(cases: Sequence[Case], drawn: Iterable[tuple[Group, Indices]]) -> dict[str, Float64s]:
    """Each metric for each case, by the frames that are drawn for it."""
    values = {metric: np.zeros(len(cases)) for metric in METRICS}
    for group, drawn_QMK in drawn:
        count = len(cases[group[0]].scores)
        for metric, own_Q in measure(drawn_QMK, [cases[i].moments for i in group], count).items():
            values[metric][group] = own_Q
    return values


SETTINGS = ("noise", "frames", "variants", "sampler")


def as_text(table: pl.DataFrame) -> str:
    """Each metric as mean ± half its 95 % interval; samplers beside each other for equal frames."""
    rows = table.sort("noise", "frames", "variants", maintain_order=True)
    return table_text(rows.select(*SETTINGS, *map(_with_interval, METRICS)))


def _with_interval(metric: str) -> pl.Expr:
    half = (pl.col(f"{metric}_high") - pl.col(f"{metric}_low")) / 2
    mean = pl.col(metric).map_elements(lambda value: f"{value:.3f}", return_dtype=pl.String)
    width = half.map_elements(lambda value: f"±{value:.3f}".replace("±0", "±"), return_dtype=pl.String)
    return pl.concat_str(mean, width).fill_null("–").alias(metric)


TAILS = (0.025, 0.975)


class VideoBootstrap:
    """Resamples videos with replacement, all questions of a video together; the same draws for every value.

    Equal draws make two samplers' intervals comparable. Deterministic in `seed`.
    """

    def __init__(self, video_ids: Sequence[str], *, resamples: int, seed: int = 0) -> None:
        _, self._video_Q = np.unique(np.array(video_ids), return_inverse=True)
        self._videos = int(self._video_Q.max()) + 1
        picks = np.random.default_rng(seed).integers(self._videos, size=(resamples, self._videos))
        rows = picks + self._videos * np.arange(resamples)[:, None]
        counts = np.bincount(rows.ravel(), minlength=resamples * self._videos)
        self._weights_BV = counts.reshape(resamples, self._videos).astype(np.float64)

    def interval(self, values_Q: Float64s) -> tuple[float, float]:
        """Percentile interval of 95 % of the mean over questions; NaN in, NaN out."""
        sums_V = np.bincount(self._video_Q, weights=values_Q, minlength=self._videos)
        sizes_V = np.bincount(self._video_Q, minlength=self._videos)
        means_B = (self._weights_BV @ sums_V) / (self._weights_BV @ sizes_V)
        low, high = np.quantile(means_B, TAILS)
        return float(low), float(high)


METRICS = (
    *("moment_recall", "hit_rate", "precision", "largest_gap"),
    *("worst_recall", "union_recall", "overlap"),
)


def measure(drawn_QMK: Indices, moments: Sequence[Sequence[Moment]], count: int) -> dict[str, Float64s]:
    """Each metric for each case, float64 [Q] in [0, 1].

    moment_recall: share of the moments that a variant meets, mean over the variants; worst_recall: of the
    variant that meets fewest; union_recall: of all variants together. hit_rate: share of the variants that
    meet any moment. precision: share of the frames inside a moment. largest_gap: longest stretch of a variant
    between neighbouring frames, the ends of the video included, as a share of the video. overlap: share of
    the frames that two variants have in common, mean over the pairs; NaN for one variant.
    """
    chosen_QMN = np.zeros((*drawn_QMK.shape[:2], count), dtype=bool)
    np.put_along_axis(chosen_QMN, drawn_QMK.astype(np.int64), True, axis=2)
    met_RM, owner_R = _met(chosen_QMN, moments)
    recall_QM = _by_case(met_RM, owner_R)
    inside_QMK = np.take_along_axis(_inside(moments, count)[:, None], drawn_QMK.astype(np.int64), axis=2)
    return {
        "moment_recall": recall_QM.mean(axis=1),
        "hit_rate": (recall_QM > 0).mean(axis=1),
        "precision": inside_QMK.mean(axis=(1, 2)),
        "largest_gap": largest_gaps(drawn_QMK, count).mean(axis=1) / count,
        "worst_recall": recall_QM.min(axis=1),
        "union_recall": _by_case(np.max(met_RM, axis=1, keepdims=True), owner_R)[:, 0],
        "overlap": _overlap(chosen_QMN, drawn_QMK.shape[2]),
    }


def largest_gaps(drawn_QMK: Indices, count: int) -> npt.NDArray[np.int64]:
    """Longest step in candidates, int64 [Q, M], with a frame before the first and one after the last."""
    ends = ((0, 0), (0, 0), (1, 1))
    closed = np.pad(drawn_QMK.astype(np.int64), ends, constant_values=((0, 0), (0, 0), (-1, count)))
    steps: npt.NDArray[np.int64] = np.diff(closed, axis=2).max(axis=2)
    return steps


def _met(
    chosen_QMN: npt.NDArray[np.bool_], moments: Sequence[Sequence[Moment]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each variant of its case meets each moment, bool [R, M]; and the case of each moment, [R]."""
    owner_R = np.repeat(np.arange(len(moments)), [len(own) for own in moments])
    ranges_R2 = np.array([moment for own in moments for moment in own], dtype=np.int64).reshape(-1, 2)
    before_QMN = np.pad(np.cumsum(chosen_QMN, axis=2), ((0, 0), (0, 0), (1, 0)))
    start_R, end_R = ranges_R2.T
    return before_QMN[owner_R, :, end_R] > before_QMN[owner_R, :, start_R], owner_R


def _by_case(met_RM: npt.NDArray[np.bool_], owner_R: npt.NDArray[np.int64]) -> Float64s:
    """Mean over the moments of each case, float64 [Q, M]."""
    starts = np.flatnonzero(np.diff(owner_R, prepend=-1))
    sizes = np.diff(starts, append=owner_R.size)
    means: Float64s = np.add.reduceat(met_RM.astype(np.float64), starts, axis=0) / sizes[:, None]
    return means


def _inside(moments: Sequence[Sequence[Moment]], count: int) -> npt.NDArray[np.bool_]:
    """Whether each candidate lies in a moment, bool [Q, N]."""
    inside_QN = np.zeros((len(moments), count), dtype=bool)
    for row_N, own in zip(inside_QN, moments, strict=True):
        for start, end in own:
            row_N[start:end] = True
    return inside_QN


def _overlap(chosen_QMN: npt.NDArray[np.bool_], frames: int) -> Float64s:
    variants = chosen_QMN.shape[1]
    if variants == 1:
        return np.full(len(chosen_QMN), np.nan)
    uses_QN = chosen_QMN.sum(axis=1)
    shared_Q = (uses_QN * (uses_QN - 1) / 2).sum(axis=1)
    overlap: Float64s = shared_Q / (variants * (variants - 1) / 2) / frames
    return overlap
