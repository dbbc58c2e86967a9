"""An evaluation on a benchmark as the command line starts it: with the other processes, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strive_data.common.console import echo
from strive_rl.benchmarks.items import read_items
from strive_rl.common import distributed, jsonl
from strive_rl.common.profiling import oom_hint
from strive_rl.common.progress import EvalProgress
from strive_rl.common.run_settings import require_finished
from strive_rl.eval.columns import gains_over_baseline, require_baseline
from strive_rl.eval.config import BenchmarkSettings
from strive_rl.eval.on_benchmark import FREE, RESULTS_FILE, Means, Record, Task, evaluate_benchmark, record_of
from strive_rl.eval.score import PAGE_FILE
from strive_rl.eval.table import compare_table, score_table

# An evaluation on a benchmark that is asked for again once it is done: told anew, nothing answered twice.


def finished_results(
    out: Path, *, task: Task, settings: BenchmarkSettings, baseline: Path | None = None
) -> Record | None:
    """What an evaluation that came to its end wrote, None where there is none; a baseline's gain is added.

    Its videos need not be there any more. Raises UsageError where it was made with other settings, another
    model or annotation, and names the difference. Of several processes the first one writes.
    """
    if not (out / RESULTS_FILE).is_file():
        return None
    results = jsonl.read_json(out / RESULTS_FILE)
    now = record_of(task, read_items(task.annotations, task.benchmark, task.recipe), settings)
    # Other versions would have given other bytes; those that are there stay what they are.
    del now["versions"]
    # Older results do not say by how many resamples their intervals were made.
    now |= {name: getattr(settings, name) for name in FREE if name in results}
    require_finished(results, now, out)
    if baseline is not None and distributed.is_first():
        require_baseline(baseline, settings)
        results["baseline"] = gains_over_baseline(baseline, out, settings)
        jsonl.write_json(out / RESULTS_FILE, results)
    return results


# The results of an evaluation on a benchmark as they are printed. Pure.

NOT_TRAINING = "of the same model, by the choice of frames alone: no gain of training"


def benchmark_table(results: dict[str, Any]) -> str:
    """A table for each frame sampler, then what the others gain over uniform frames, then a baseline's."""
    return "\n".join(_parts(results))


def _parts(results: dict[str, Any]) -> Iterator[str]:
    for sampler, column in results["columns"].items():
        yield f"{sampler} frames"
        yield score_table(column)
    for sampler, gain in results["gains"].items():
        yield f"{sampler} − uniform frames, {NOT_TRAINING}"
        yield compare_table(gain)
    for sampler, gain in results.get("baseline", {}).items():
        yield f"this − baseline, {sampler} frames"
        yield compare_table(gain)
    if results["failures"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in results["failures"].items())
        became = "count as wrong" if results["missing"] == "wrong" else "are left out of the mean"
        yield f"questions without an answer: {kinds} (failures.jsonl); they {became}"


FAILED = 2
# A process that is done waits for all others: for as long as their share may take.
PATIENCE_MINUTES = 7 * 24 * 60.0


def launch(out: Path, *, task: Task, settings: BenchmarkSettings, means: Means, baseline: Path | None) -> int:
    """Evaluate, or tell again what is finished; the exit code. The first process speaks for all."""
    try:
        with distributed.processes(PATIENCE_MINUTES), oom_hint(settings.policy):
            with distributed.propagate_errors():
                known = finished_results(out, task=task, settings=settings, baseline=baseline)
            distributed.barrier()
            first = distributed.is_first()
            results = _evaluated(out, task, settings, means, baseline) if known is None else known
    except distributed.PeerFailedError:
        return FAILED
    if first and results:
        if known is not None:
            echo(f"{out}: finished already, nothing to do")
        echo(benchmark_table(results))
        echo("examples: " + ", ".join(str(out / name / PAGE_FILE) for name in settings.samplers))
    return 0


def _evaluated(
    out: Path, task: Task, settings: BenchmarkSettings, means: Means, baseline: Path | None
) -> dict[str, object]:
    with distributed.locked_folder(out), EvalProgress() as progress:
        return evaluate_benchmark(
            out,
            task=task,
            settings=settings,
            means=means,
            baseline=baseline,
            observe=progress if distributed.is_first() else lambda done, total: None,
        )
