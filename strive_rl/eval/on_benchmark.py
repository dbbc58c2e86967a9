"""`strive-rl eval --benchmark`: the order of an evaluation on a benchmark's videos, with other processes.

annotation → items → videos that are there → batches → answers (decoded beside) → scores → results.json
Killed at any moment, the same command goes on and ends with the same predictions.jsonl, byte for byte.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strive_data.common.console import echo
from strive_data.common.files import near_path
from strive_data.common.settings import identity
from strive_data.common.text import plural
from strive_data.config import BuildSettings, ScoreSettings, ShardSettings
from strive_data.engines.engine import VideoResult, find_videos, make_engine
from strive_data.errors import UsageError
from strive_rl.benchmarks.items import Benchmark, ItemSet, read_items
from strive_rl.common import distributed, jsonl
from strive_rl.common.profiling import oom_hint
from strive_rl.common.progress import EvalProgress, phase
from strive_rl.common.run_settings import (
    RESULTS_FILE,
    library_versions,
    model_identity,
    require_finished,
    require_folder,
)
from strive_rl.eval import answer_log
from strive_rl.eval.answer import votes
from strive_rl.eval.answer_log import (
    ANSWERING,
    AnswerContext,
    Key,
    VideoBatch,
    answered,
    failed_row,
    failure_line,
    order_of,
    pending_of,
    video_batches_of,
)
from strive_rl.eval.config import FAILURES_FILE, PAGE_FILE, UNIFORM, BenchmarkSettings
from strive_rl.eval.frames import require_samplers
from strive_rl.eval.score import (
    compared,
    gains_over_baseline,
    gains_over_uniform,
    require_baseline,
    score_columns,
)
from strive_rl.eval.table import benchmark_table
from strive_rl.policy import load_policy
from strive_rl.policy.load import warn_if_resized
from strive_rl.rollout.groups import load_engine

# They change what predictions add up to, and no prediction.
FREE = ("missing", "bootstrap_resamples")
SHOWN_ROWS = 3
Observer = Callable[[int, int], None]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is evaluated, and how: a benchmark by its annotation files (`recipe` and `columns` as for a
    build), its videos below `data_root`; and the model, a name or a folder.

    No byte depends on `workers` (0: one a core, shared by the processes) and `cache`, which are as for a
    build.
    """

    benchmark: Benchmark
    annotations: tuple[Path, ...]
    data_root: Path
    model: str
    settings: BenchmarkSettings
    recipe: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    workers: int = 0
    cache: Path | None = None

    def read(self) -> ItemSet:
        """Its questions."""
        return read_items(self.annotations, self.benchmark, self.recipe, self.data_root, self.columns)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The questions: items, those whose video is there in batches, and the lines of failures.jsonl of the
    others and of the annotation's unusable rows."""

    items: ItemSet
    video_batches: tuple[VideoBatch, ...]
    absent: tuple[Record, ...]


def evaluate_benchmark(
    out: Path,
    *,
    task: Task,
    baseline: Path | None = None,
    observe: Observer = lambda done, total: None,
) -> Record:
    """Evaluate a model into `out`, or go on where an earlier call was; the content of results.json.

    Several processes (torchrun) share the questions; the first adds up, the others give {}. Raises UsageError
    for what cannot be used: an annotation without a usable row, a data root without any of its videos, an
    unknown frame sampler, a model, a baseline, a finished `out` or one that was started with other settings.
    """
    with distributed.propagate_errors():
        plan = make_plan(task)
        if distributed.is_first():
            prepare(out, task, plan, baseline)
    distributed.barrier()
    with distributed.propagate_errors():
        seconds = answer_share(out, task=task, plan=plan, observe=observe)
    spent = distributed.all_gather(seconds)
    if not distributed.is_first():
        return {}
    settings = task.settings
    lines = answer_log.merge(out, answer_log.PREDICTIONS, order_of(plan.video_batches, names_of(settings)))
    failures = answer_log.merge(out, answer_log.FAILURES, failure_order(plan, settings))
    if not lines:
        raise UsageError(f"no question could be answered; the first: {failures[0]['message']}")
    columns = score_columns(
        out, benchmark=task.benchmark, items=plan.items, recipe=task.recipe, settings=settings
    )
    results = record_of(task, plan.items) | {name: getattr(settings, name) for name in FREE}
    results |= {
        "failures": dict(sorted(Counter(line["kind"] for line in failures).items())),
        "columns": columns,
        "gains": gains_over_uniform(out, settings),
        "seconds": spent,
    }
    if settings.variants > 1 or settings.vote:
        # Of a resumed evaluation the seconds are those of its last part.
        times = {name: sum(part.get(ANSWERING + name, 0.0) for part in spent) for name in names_of(settings)}
        results |= votes(
            settings, lines, times, lambda column: compared(out / column.name, out / column.sampler, settings)
        )
    if baseline is not None:
        results["baseline"] = gains_over_baseline(baseline, out, settings)
    jsonl.write_json(out / RESULTS_FILE, results)
    return results


def prepare(out: Path, task: Task, plan: Plan, baseline: Path | None) -> None:
    """Refuse what cannot be evaluated into, and make the folder ready; by the first process."""
    for line in reading_lines(plan.items, own=not task.benchmark.files):
        echo(line, err=True)
    require_folder(out)
    if (out / RESULTS_FILE).exists():
        raise UsageError(f"{out} already holds results: give another --out")
    if baseline is not None:
        require_baseline(baseline, task.settings)
    answer_log.open_folder(out, record_of(task, plan.items))
    answer_log.mend(out)
    known = answer_log.read(out, answer_log.FAILURES)
    answer_log.write(
        out,
        answer_log.FAILURES,
        [line for line in plan.absent if (line["sample_id"], line["sampler"]) not in known],
    )


def reading_lines(items: ItemSet, *, own: bool) -> Iterator[str]:
    """How a table of the user's own was read, and why rows cannot be used: the first few."""
    for path, reading in items.readings.items() if own else ():
        unread = [f"not read: {', '.join(reading.unread)}"] if reading.unread else []
        yield "; ".join([f"{path}: recipe {reading.recipe}", *reading.guesses, *unread])
    bad = items.unusable
    if bad:
        yield f"{plural(len(bad), 'row')} of {items.rows} cannot be used:"
    for row in bad[:SHOWN_ROWS]:
        yield f"  {row.message}"
    if len(bad) > SHOWN_ROWS:
        yield f"  and {len(bad) - SHOWN_ROWS} more: {FAILURES_FILE}"


def make_plan(task: Task) -> Plan:
    """Questions, videos and batches. Raises UsageError where there are none, before anything costly."""
    require_samplers(task.settings)
    if not task.data_root.is_dir():
        raise UsageError(f"--data-root {task.data_root}: no such folder{near_path(task.data_root)}")
    items = task.read()
    if not items.items:
        first = items.unusable[0].message if items.unusable else "it is empty"
        raise UsageError(f"no row of the annotation can be used; the first: {first}")
    rows = [(number, item.question) for number, item in enumerate(items.items)]
    jobs, absent = find_videos(rows, task.data_root)
    if not jobs:
        raise UsageError(
            f"--data-root {task.data_root}: none of the videos of {plural(len(rows), 'question')} is there; "
            f"the first: {absent[0].message}"
        )
    video_batches = video_batches_of(jobs, task.settings.questions_per_pass)
    unusable = (
        failure_line(row.sample_id, row.video, row.message, stage="annotation") for row in items.unusable
    )
    lost = [*map(failed_row, absent), *unusable]
    return Plan(items=items, video_batches=tuple(video_batches), absent=tuple(lost))


def failure_order(plan: Plan, settings: BenchmarkSettings) -> dict[Key, int]:
    """Place of each failure in failures.jsonl: in the order of the annotation, unusable rows last."""
    ids = [item.question.sample_id for item in plan.items.items]
    ids += [row.sample_id for row in plan.items.unusable]
    keys = [(sample_id, column) for sample_id in ids for column in (answer_log.EVERY, *names_of(settings))]
    return {key: place for place, key in enumerate(keys)}


def answer_share(out: Path, *, task: Task, plan: Plan, observe: Observer) -> dict[str, float]:
    """Answer what is left of this process's questions; the seconds of it. No model is loaded for nothing."""
    started, settings = time.monotonic(), task.settings
    processes = distributed.world_size()
    mine = plan.video_batches[distributed.rank() :: processes]
    columns = names_of(settings)
    settled = answer_log.settled(out, columns)
    jobs, batches = pending_of(mine, columns, settled)
    left = distributed.all_gather(bool(batches))
    # Processes that share an engine make it together.
    if not (batches or (settings.engine != "builtin" and any(left))):
        return {"answering": 0.0}
    policy = load_policy(task.model, settings.policy)
    loaded = time.monotonic()
    context = AnswerContext(
        policy=policy,
        benchmark=task.benchmark,
        items={item.question.sample_id: item for item in plan.items.items},
        settings=settings,
        engine=load_engine(policy, settings, settings.max_new_tokens),
    )
    total = sum(key not in settled for key in order_of(mine, columns))
    done = 0
    workers = task.workers or max(1, (os.cpu_count() or 1) // processes)
    engine = make_engine("local", frame_settings(settings), workers=workers, cache=task.cache)
    with closing(engine.run(jobs)) as videos:
        for answers, lost in answered(context, batches, counted(videos, len(jobs))):
            fresh = [line for line in answers if (line["sample_id"], line["sampler"]) not in settled]
            answer_log.write(out, answer_log.PREDICTIONS, fresh)
            answer_log.write(out, answer_log.FAILURES, lost)
            done += len(fresh) + sum(len(columns) if not line["sampler"] else 1 for line in lost)
            if done:
                observe(done, total)
    if context.engine:
        context.engine.sleep()
    now = time.monotonic()
    return {"loading": loaded - started, "answering": now - loaded, **context.spent}


def frame_settings(settings: BenchmarkSettings) -> BuildSettings:
    """How videos are read: the settings of a build that gives these frames. Without a sampler that reads
    scores there are none: no image model runs."""
    scored = any(sampler != UNIFORM for sampler in settings.samplers)
    every = scored or settings.variants > 1 or settings.policy.frame_pairs == "neighbours"
    sampler = settings.sampler if scored else replace(settings.sampler, name=UNIFORM, grouping="none")
    return BuildSettings(
        decode=settings.decode,
        score=settings.score if scored else ScoreSettings(scorer="flat"),
        sampler=replace(sampler, variants=1, kappa=1.0),
        shard=ShardSettings(
            frames="all" if every else "sampled",
            quality=settings.quality,
            embeds=sampler.grouping != "none",
        ),
    )


def counted(videos: Iterable[VideoResult], total: int) -> Iterator[VideoResult]:
    """The videos, each shown on the progress line while it is waited for."""
    phase(f"decoding video 1 of {total}")
    for number, video in enumerate(videos, start=1):
        yield video
        phase(f"decoding video {min(number + 1, total)} of {total}")


def names_of(settings: BenchmarkSettings) -> tuple[str, ...]:
    """The names of the columns, in the order of predictions.jsonl."""
    return tuple(column.name for column in settings.columns)


def record_of(task: Task, items: ItemSet) -> Record:
    """All that the predictions depend on, and the versions they were made with."""
    seen = {name: value for name, value in identity(task.settings).items() if name not in FREE}
    return {
        "benchmark": task.benchmark.name,
        "settings": seen,
        "model": model_identity(task.model),
        "annotations": list(items.input_sha256.values()),
        "recipe": task.recipe,
        **({"column_names": dict(task.columns)} if task.columns else {}),
        "versions": library_versions(),
    }


def finished_results(out: Path, *, task: Task, baseline: Path | None = None) -> Record | None:
    """What an evaluation that came to its end wrote, None where there is none; a baseline's gain is added.

    Its videos need not be there any more. Raises UsageError where it was made with other settings, another
    model or annotation, and names the difference. Of several processes the first one writes.
    """
    if not (out / RESULTS_FILE).is_file():
        return None
    results, settings = jsonl.read_json(out / RESULTS_FILE), task.settings
    now = record_of(task, task.read())
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


def launch(out: Path, *, task: Task, baseline: Path | None) -> None:
    """Evaluate, or tell again what is finished. The first process speaks for all. The caller holds the lock
    of `out` (preflight.locked)."""
    with distributed.processes(distributed.PATIENCE_MINUTES), oom_hint(task.settings.policy):
        with distributed.propagate_errors():
            known = finished_results(out, task=task, baseline=baseline)
        distributed.barrier()
        first = distributed.is_first()
        if known is None:
            with distributed.propagate_errors():
                warn_if_resized(task.model, {"decode.multiple": task.settings.decode.multiple})
            with EvalProgress() as progress:
                observe = progress if first else lambda done, total: None
                results = evaluate_benchmark(out, task=task, baseline=baseline, observe=observe)
        else:
            results = known
    if first and results:
        if known is not None:
            echo(f"{out}: finished already, nothing to do")
        echo(benchmark_table(results))
        names = names_of(task.settings)
        echo("examples: " + ", ".join(str(out / name / PAGE_FILE) for name in names))
