"""An evaluation on a benchmark that is asked for again once it is done: told anew, nothing answered twice."""

from __future__ import annotations

from pathlib import Path

from strive_rl import distributed, journal
from strive_rl.benchmark_eval.columns import gains_over_baseline, require_baseline
from strive_rl.benchmark_eval.run import FREE, RESULTS_FILE, Record, Task, record_of
from strive_rl.benchmarks.items import read_items
from strive_rl.eval_config import BenchmarkSettings
from strive_rl.run_record import require_finished


def finished_results(
    out: Path, *, task: Task, settings: BenchmarkSettings, baseline: Path | None = None
) -> Record | None:
    """What an evaluation that came to its end wrote, None where there is none; a baseline's gain is added.

    Its videos need not be there any more. Raises UsageError where it was made with other settings, another
    model or annotation, and names the difference. Of several processes the first one writes.
    """
    if not (out / RESULTS_FILE).is_file():
        return None
    results = journal.read_json(out / RESULTS_FILE)
    now = record_of(task, read_items(task.annotations, task.benchmark, task.recipe), settings)
    # Other versions would have given other bytes; those that are there stay what they are.
    del now["versions"]
    # Older results do not say by how many resamples their intervals were made.
    now |= {name: getattr(settings, name) for name in FREE if name in results}
    require_finished(results, now, out)
    if baseline is not None and distributed.is_first():
        require_baseline(baseline, settings)
        results["baseline"] = gains_over_baseline(baseline, out, settings)
        journal.write_json(out / RESULTS_FILE, results)
    return results
