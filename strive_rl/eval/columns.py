"""Predictions → a scored folder for each column, and the gains between them: over uniform frames, of a vote
over its controls, over a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark
from strive_rl.benchmarks.items import ItemSet
from strive_rl.common import jsonl
from strive_rl.data.views import UNIFORM
from strive_rl.eval.answer import cost_of
from strive_rl.eval.answer_log import seconds_name
from strive_rl.eval.compare import CompareSettings, paired_results
from strive_rl.eval.config import RESULTS_FILE, BenchmarkSettings
from strive_rl.eval.score import ScoreSettings, score
from strive_rl.eval.scored_folder import read_scored

Results = dict[str, Any]


def score_columns(
    out: Path,
    *,
    benchmark: Benchmark,
    items: ItemSet,
    recipe: str | None,
    settings: BenchmarkSettings,
) -> dict[str, Results]:
    """Score each column's predictions in `out` into the folder of its name; results.json of each."""
    columns = {}
    for sampler in (column.name for column in settings.columns):
        folder = out / sampler
        # One that an earlier call began: the whole evaluation is not done without its own results.json.
        (folder / RESULTS_FILE).unlink(missing_ok=True)
        wanted = ScoreSettings(
            missing=settings.missing,
            sampler=sampler,
            recipe=recipe,
            bootstrap_resamples=settings.bootstrap_resamples,
            seed=settings.seed,
        )
        columns[sampler] = score([out], folder, benchmark=benchmark, items=items, settings=wanted)
    return columns


def votes(
    out: Path, lines: Sequence[Results], settings: BenchmarkSettings, spent: Sequence[Mapping[str, float]]
) -> Results:
    """What each column cost, and the paired gain of each vote over its controls.

    `spent` are the seconds of each process in this call: of a resumed evaluation those of its last part.
    """
    costs, gains = {}, {}
    for column in settings.columns:
        mine = [line for line in lines if line["sampler"] == column.name]
        seconds = sum(part.get(seconds_name(column.name), 0.0) for part in spent)
        costs[column.name] = cost_of(mine, column) | {"seconds": seconds}
        if column.name != column.sampler:
            gains[column.name] = compared(out / column.name, out / column.sampler, settings)
    return {"votes": costs, "vote_gains": gains}


def gains_over_uniform(out: Path, settings: BenchmarkSettings) -> dict[str, Results]:
    """The paired gain of each other sampler over uniform frames: what the choice of frames alone gives."""
    if UNIFORM not in settings.samplers:
        return {}
    others = [sampler for sampler in settings.samplers if sampler != UNIFORM]
    return {sampler: compared(out / UNIFORM, out / sampler, settings) for sampler in others}


def gains_over_baseline(baseline: Path, out: Path, settings: BenchmarkSettings) -> dict[str, Results]:
    """The paired gain over another evaluation, of each frame sampler that it holds too.

    Raises UsageError where it is none, holds none of them, or other questions.
    """
    held = jsonl.read_json(baseline / RESULTS_FILE).get("columns", {})
    both = [sampler for sampler in settings.samplers if sampler in held]
    return {sampler: compared(baseline / sampler, out / sampler, settings) for sampler in both}


def require_baseline(baseline: Path, settings: BenchmarkSettings) -> None:
    """Raise UsageError where it is no finished evaluation on a benchmark under one of the samplers."""
    file = baseline / RESULTS_FILE
    held = jsonl.read_json(file).get("columns", {}) if file.is_file() else {}
    if not held.keys() & set(settings.samplers):
        seen = f"it holds {', '.join(held)}" if held else "no finished evaluation on a benchmark"
        raise UsageError(f"baseline {baseline}: {seen}, expected one of {', '.join(settings.samplers)}")


def compared(a: Path, b: Path, settings: BenchmarkSettings) -> Results:
    """`strive-rl compare a b`, by this evaluation's bootstrap."""
    bootstrap = CompareSettings(bootstrap_resamples=settings.bootstrap_resamples, seed=settings.seed)
    return paired_results(read_scored(a), read_scored(b), settings=bootstrap)[0]
