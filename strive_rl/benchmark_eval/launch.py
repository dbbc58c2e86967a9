"""An evaluation as the command line starts it: with the other processes, in words."""

from __future__ import annotations

from pathlib import Path

from strive_rl import distributed
from strive_rl.benchmark_eval.finished import finished_results
from strive_rl.benchmark_eval.run import Means, Task, evaluate_benchmark
from strive_rl.benchmark_eval.show import benchmark_table
from strive_rl.eval_config import BenchmarkSettings
from strive_rl.memory import memory_advice
from strive_rl.progress import EvalProgress
from strive_rl.score import PAGE_FILE

FAILED = 2
# A process that is done waits for all others: for as long as their share may take.
PATIENCE_MINUTES = 7 * 24 * 60.0


def launch(out: Path, *, task: Task, settings: BenchmarkSettings, means: Means, baseline: Path | None) -> int:
    """Evaluate, or tell again what is finished; the exit code. The first process speaks for all."""
    try:
        with distributed.processes(PATIENCE_MINUTES), memory_advice(settings.policy):
            with distributed.telling():
                known = finished_results(out, task=task, settings=settings, baseline=baseline)
            distributed.barrier()
            first = distributed.is_first()
            results = _evaluated(out, task, settings, means, baseline) if known is None else known
    except distributed.ToldElsewhereError:
        return FAILED
    if first and results:
        if known is not None:
            print(f"{out}: finished already, nothing to do")
        print(benchmark_table(results))
        print("examples: " + ", ".join(str(out / name / PAGE_FILE) for name in settings.samplers))
    return 0


def _evaluated(
    out: Path, task: Task, settings: BenchmarkSettings, means: Means, baseline: Path | None
) -> dict[str, object]:
    with EvalProgress() as progress:
        return evaluate_benchmark(
            out,
            task=task,
            settings=settings,
            means=means,
            baseline=baseline,
            observe=progress if distributed.is_first() else lambda done, total: None,
        )
