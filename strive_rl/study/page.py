"""A study as one self-contained page: curves with bands, forest plot of the paired gains, groups, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strive_data.common.text import render
from strive_rl.inspect.curves import GRID, INK, PALETTE, svg
from strive_rl.inspect.history import differing
from strive_rl.study.results import GROUP_METRICS, label_of, t_quantile, table_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = Path(__file__).parent / "templates" / "study.html"
PAGE_FILE = "study.html"
MOST_BANDS, BAR_SHIFT = 3, 0.008
WIDTH_INCHES, CURVES_INCHES, ROW_INCHES = 5.6, 3.4, 0.34

Record = Mapping[str, Any]


def write_page(results: Record, out: Path, *, title: str) -> None:
    """Write the page of the content of study.json."""
    arms = list(results["study"]["arms"])
    baseline = arms[0]
    parts = []
    for sampler, compared in results["samplers"].items():
        (_, *header), *rows = table_rows(results, sampler)
        height = 1.0 + ROW_INCHES * len(compared)
        curves = svg(
            partial(_curves, points=accuracy_points(results, sampler)),
            size=(WIDTH_INCHES, CURVES_INCHES),
            salt=f"curves {sampler}",
        )
        forest = svg(
            partial(_forest, compared=compared, baseline=baseline),
            size=(WIDTH_INCHES, max(height, 1.8)),
            salt=f"forest {sampler}",
        )
        parts.append((label_of(results, sampler), curves, forest, ["arm", *header], rows))
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    page = render(
        PAGE,
        title=title,
        facts=_facts(results),
        legend=[(PALETTE[i % len(PALETTE)], name) for i, name in enumerate(arms)],
        baseline=baseline,
        samplers=parts,
        arms=arms,
        group_columns=[_words(name) for name in GROUP_METRICS],
        groups=[
            (arm, [f"{means[name]['mean']:.3f}" if name in means else "–" for name in GROUP_METRICS])
            for arm in arms
            for means in [results["groups"].get(arm, {})]
        ],
        differences=differing(list(results["study"]["arms"].values())),
        versions=versions,
    )
    out.write_text(page, encoding="utf-8")


def accuracy_points(results: Record, sampler: str) -> dict[str, list[tuple[float, Record]]]:
    """(share of the steps, mean over seeds) by arm, with the warm starts where they are known."""
    arms = list(results["study"]["arms"])
    found: dict[str, list[tuple[float, Record]]] = {arm: [] for arm in arms}
    final = {"share": 1.0, "samplers": results["samplers"]}
    for point in [*results["points"], final]:
        given = point["samplers"].get(sampler)
        by_arm = {each["arm"]: each["accuracy"] for each in given} if isinstance(given, list) else {}
        for arm in arms:
            mean = by_arm.get(arm) if by_arm else given
            if mean:
                found[arm].append((point["share"], mean))
    return found


def _curves(axes: Axes, *, points: Mapping[str, Sequence[tuple[float, Record]]]) -> None:
    """Accuracy by share of the steps, with 95 % intervals over seeds: bands, or bars where many overlap."""
    for place, known in enumerate(points.values()):
        colour = PALETTE[place % len(PALETTE)]
        shares, means = [share for share, _ in known], [100 * mean["mean"] for _, mean in known]
        half = [100 * _half(mean) for _, mean in known]
        low = [max(0.0, m - h) for m, h in zip(means, half, strict=True)]
        high = [min(100.0, m + h) for m, h in zip(means, half, strict=True)]
        if len(points) <= MOST_BANDS:
            axes.fill_between(shares, low, high, color=colour, alpha=0.15, linewidth=0)
        else:
            beside = [share + BAR_SHIFT * (place - len(points) / 2) for share in shares]
            axes.vlines(beside, low, high, color=colour, linewidth=1.2)
        axes.plot(shares, means, marker="o", markersize=4, linewidth=1.8, color=colour)
    axes.grid(axis="y", color=GRID)
    axes.set_title("accuracy, 95 % interval", loc="left", weight="bold", fontsize=12)
    axes.set(xlabel="share of the steps", ylabel="per cent of held-out questions")


def _forest(axes: Axes, *, compared: Sequence[Record], baseline: str) -> None:
    """Gains over the baseline with their 95 % intervals; a single seed has a dot without one."""
    shown = [(place, each) for place, each in enumerate(compared) if each["gain"]]
    for row, (place, each) in enumerate(shown):
        gain, colour = each["gain"], PALETTE[place % len(PALETTE)]
        if gain["low"] is not None:
            axes.plot([100 * gain["low"], 100 * gain["high"]], [row, row], color=colour, linewidth=2)
        axes.plot([100 * gain["mean"]], [row], marker="s", markersize=6, color=colour)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [each["arm"] for _, each in shown])
    axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID)
    axes.set_title("gain, 95 % interval", loc="left", weight="bold", fontsize=12)
    axes.set(xlabel=f"points over {baseline}")


def _half(mean: Record) -> float:
    return 0.0 if mean["error"] is None else float(mean["error"]) * t_quantile(mean["count"] - 1)


def _facts(results: Record) -> str:
    study = results["study"]
    seeds = sorted({int(seed) for runs in results["runs"].values() for seed in runs})
    named = ", ".join(map(str, seeds)) or "none yet"
    starts = [point["samplers"] for point in results["points"] if point["share"] == 0]
    shown = [
        f"{100 * mean['mean']:.1f} % ({label_of(results, name)})"
        for start in starts
        for name, mean in start.items()
    ]
    begin = f"; accuracy before training {', '.join(shown)}" if shown else ""
    temperature = study["evaluation"]["temperature"]
    sampled = f"; answers sampled at temperature {temperature:g}" if temperature else ""
    return (
        f"Seeds {named}; trained on build {study['shards']}, evaluated on {study['heldout']}{sampled}{begin}."
    )


def _words(metric: str) -> str:
    return "η²" if metric == "eta2" else metric.removesuffix("_share").replace("_", " ")
