"""An evaluation on a benchmark as the command line starts it: with the other processes, in words."""

from __future__ import annotations

from pathlib import Path

from strive_data.common.console import echo
from strive_rl.benchmarks.items import read_items
from strive_rl.common import distributed, jsonl
from strive_rl.common.profiling import oom_hint
from strive_rl.common.progress import EvalProgress
from strive_rl.common.run_settings import require_finished
from strive_rl.eval.columns import gains_over_baseline, require_baseline
from strive_rl.eval.config import PAGE_FILE, RESULTS_FILE, BenchmarkSettings
from strive_rl.eval.on_benchmark import FREE, Record, RuntimeOptions, Task, evaluate_benchmark, record_of
from strive_rl.eval.table import benchmark_table


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


FAILED = 2
# A process that is done waits for all others: for as long as their share may take.
PATIENCE_MINUTES = 7 * 24 * 60.0


def launch(
    out: Path, *, task: Task, settings: BenchmarkSettings, runtime: RuntimeOptions, baseline: Path | None
) -> int:
    """Evaluate, or tell again what is finished; the exit code. The first process speaks for all."""
    try:
        with distributed.processes(PATIENCE_MINUTES), oom_hint(settings.policy):
            with distributed.propagate_errors():
                known = finished_results(out, task=task, settings=settings, baseline=baseline)
            distributed.barrier()
            first = distributed.is_first()
            results = _evaluated(out, task, settings, runtime, baseline) if known is None else known
    except distributed.PeerFailedError:
        return FAILED
    if first and results:
        if known is not None:
            echo(f"{out}: finished already, nothing to do")
        echo(benchmark_table(results))
        echo("examples: " + ", ".join(str(out / name / PAGE_FILE) for name in settings.samplers))
    return 0


def _evaluated(
    out: Path, task: Task, settings: BenchmarkSettings, runtime: RuntimeOptions, baseline: Path | None
) -> dict[str, object]:
    with distributed.locked_folder(out), EvalProgress() as progress:
        return evaluate_benchmark(
            out,
            task=task,
            settings=settings,
            runtime=runtime,
            baseline=baseline,
            observe=progress if distributed.is_first() else lambda done, total: None,
        )
