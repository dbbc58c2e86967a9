"""All arms and seeds of a study: train, evaluate, compare. A stopped study resumes where it was.

OUT/ARM/seed-N/run is a run of `strive-rl train`, OUT/ARM/seed-N/eval an evaluation of its model, eval-STEP
one of its checkpoint after STEP steps; checkpoints are removed once all evaluations exist. OUT/start-K has
the evaluation of the K-th warm start. All arms of a seed come before the next seed, so that a study stopped
early still compares equal seeds. Seed i of the list starts from model i modulo the number of models, for
every arm.

torch is imported by what trains: a wrong OUT is refused before.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from signal import SIGINT
from threading import Thread
from typing import Any, TextIO

from strive_data.common.files import output_folder
from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_data.errors import StriveError, Terminated, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.common.preflight import require_one_process
from strive_rl.common.progress import EvalProgress, Line, TrainProgress, duration, quiet_libraries
from strive_rl.common.run_folder import MODEL_FOLDER, checkpoint_folder, checkpoints
from strive_rl.common.run_settings import (
    METRICS_FILE,
    RESULTS_FILE,
    SETTINGS_FILE,
    evaluation_settings,
    holds_work,
    model_identity,
    with_defaults,
)
from strive_rl.config import TrainSettings
from strive_rl.data.dataset import multiples_of
from strive_rl.study.plan import Job, Study
from strive_rl.study.results import STUDY_FILE, write_results

Observe = Callable[[str], None]
# Between two looks at what the runs of worker processes have written.
LOOK_SECONDS = 2.0


def run_study(
    study: Study,
    out: Path,
    *,
    shards: ShardSet,
    heldout: ShardSet,
    models: Sequence[str],
    observe: Observe,
    workers: int = 1,
) -> dict[str, Any]:
    """Run what is missing; the content of OUT/study.json (results.py).

    `workers` runs go on at a time, each in a process with one thread; a single one runs in this process.
    Raises UsageError where OUT holds another study (more seeds may be added to one, behind those that are
    there where there are several models), and under torchrun.
    """
    require_one_process("study")
    _claim(study, out, shards, heldout, models)
    quiet_libraries()
    from strive_rl.policy.load import warn_if_resized

    for name in models:
        warn_if_resized(name, multiples_of(shards, heldout))
    jobs = study_jobs(study, out, models)
    _require_models(jobs, models)
    missing = [job for job in jobs if not job.finished]
    write_results(study, out, jobs)
    if workers == 1:
        for job in missing:
            observe(job.name)
            run_job(job, shards, heldout)
            write_results(study, out, jobs)
    elif missing:
        _in_workers(missing, workers, shards, heldout, observe, lambda: write_results(study, out, jobs))
    return jsonl.read_json(out / STUDY_FILE)


def study_jobs(study: Study, out: Path, models: Sequence[str]) -> list[Job]:
    """The warm starts, then all arms seed by seed."""
    starts = [
        Job(
            name=f"start, model {model}",
            folder=out / f"start-{place}",
            model=model,
            evaluation=study.evaluation,
        )
        for place, model in enumerate(models)
    ]
    return starts + [
        Job(
            name=f"{arm.name}, seed {seed}",
            folder=out / arm.name / f"seed-{seed}",
            settings=replace(arm.settings, seed=seed),
            steps=study.steps(arm),
            evaluation=study.evaluation,
            model=models[place % len(models)],
        )
        for place, seed in enumerate(study.seeds)
        for arm in study.arms
    ]


def kept_of(study: Study, out: Path, models: Sequence[str]) -> str:
    """What of a stopped study the same command finds."""
    jobs = study_jobs(study, out, models)
    done = sum(job.finished for job in jobs)
    return f"{done} of {plural(len(jobs), 'run')} finished, the others are kept to their newest checkpoint"


def _in_workers(
    jobs: Sequence[Job],
    workers: int,
    shards: ShardSet,
    heldout: ShardSet,
    observe: Observe,
    finished: Callable[[], None],
) -> None:
    """Run jobs in processes of their own. The first that fails ends the study once the running ones end.

    Raises StriveError where a process dies.
    """
    places = str(shards.folder), str(heldout.folder)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        running = {pool.submit(_run_in_worker, job, *places): job for job in jobs}
        try:
            observe(f"{plural(len(jobs), 'run')}, {workers} at a time")
            began = time.monotonic()
            for number, done in enumerate(_as_completed(running, workers), start=1):
                done.result()
                left = duration((time.monotonic() - began) / number * (len(jobs) - number))
                observe(f"{running[done].name}: done, {number} of {len(jobs)}, {left} left")
                finished()
        except BrokenProcessPool as error:
            raise StriveError(
                "a process of the study died: it was killed, or the machine is out of memory; start the same "
                "command again to go on, with fewer --workers if memory is short"
            ) from error
        except (KeyboardInterrupt, Terminated):
            for worker in active_children():  # A signal to this process alone has not reached them.
                worker.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _as_completed(running: Mapping[Future[None], Job], workers: int) -> Iterator[Future[None]]:
    """The jobs as they end. While it waits a line of progress says where those at work are."""
    left = list(running)
    while left:
        with Line() as line:
            while not (ended := wait(left, LOOK_SECONDS, FIRST_COMPLETED).done):
                # The pool calls one more job running than it has workers.
                at_work = [running[each] for each in left if each.running()][:workers]
                if at_work:
                    line.show_phase("; ".join(f"{job.name}: {doing(job)}" for job in at_work))
        yield from (each for each in left if each in ended)
        left = [each for each in left if each not in ended]


def doing(job: Job) -> str:
    """What a job is at, by what its run has written."""
    run = job.folder / "run"
    if job.settings is None or (run / MODEL_FOLDER).is_dir():
        return "evaluating"
    steps = jsonl.first_and_last_step(run / METRICS_FILE)
    return f"step {steps[1] if steps else 0}/{job.settings.steps}"


def _end_with_parent() -> None:
    """A study that is killed leaves no worker behind, which would train for hours."""
    parent = parent_process()

    def wait() -> None:
        if parent:
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _run_in_worker(job: Job, shards: str, heldout: str) -> None:
    """One job, in one thread: the workers share the cores. Ctrl-C reaches them too: it ends each at once,
    while it imports torch as well."""
    try:
        import torch

        torch.set_num_threads(1)
        quiet_libraries(say=False)
        with Path(os.devnull).open("w") as nowhere:
            run_job(job, ShardSet.open(shards), ShardSet.open(heldout), nowhere)
    except KeyboardInterrupt:
        os._exit(128 + SIGINT)


def run_job(job: Job, shards: ShardSet, heldout: ShardSet, stream: TextIO | None = None) -> None:
    """Run what is missing of a job. Its progress goes to `stream`, by default standard error."""
    from strive_rl.eval.on_shards import evaluate

    run = job.folder / "run"
    trained = _train(job, job.settings, run, shards, stream) if job.settings else job.model
    for step in job.steps:
        folder = job.results(step)
        if not (folder / RESULTS_FILE).is_file():
            model = trained if step == job.steps[-1] else str(checkpoint_folder(run, step))
            with EvalProgress(stream) as progress:
                evaluate(folder, shards=heldout, model=model, settings=job.evaluation, observe=progress)
    if len(job.steps) > 1:
        for folder in checkpoints(run).values():
            shutil.rmtree(folder)


def _train(job: Job, settings: TrainSettings, run: Path, shards: ShardSet, stream: TextIO | None) -> str:
    """Train what is missing of a run; the folder of its model."""
    from strive_rl.train import state, trainer

    given: dict[str, Any] = {"shards": shards, "model": job.model, "settings": settings}
    with output_folder(run), TrainProgress(stream) as progress:
        return str(trainer.fit(state.open_run(run, **given, resume=holds_work(run)), progress))


def _claim(study: Study, out: Path, shards: ShardSet, heldout: ShardSet, models: Sequence[str]) -> None:
    """Make OUT this study's, or check that it is: everything but the number of seeds must be the same.

    One that ended before the first step of its first run starts again.
    """
    mine: dict[str, Any] = {
        "arms": {arm.name: as_dict(arm.settings) for arm in study.arms},
        "evaluation": as_dict(study.evaluation),
        "points": list(study.points),
        "shards": shards.fingerprint,
        "heldout": heldout.fingerprint,
        "models": list(models),
    }
    path = out / STUDY_FILE
    if path.is_file():
        theirs = jsonl.read_json(path)["study"]
        # A study of an earlier version has one model and is evaluated at the end alone.
        theirs = {"points": [1.0], "models": [theirs.get("model")]} | theirs
        theirs["evaluation"] = evaluation_settings(theirs.get("evaluation", {}))
        wanted = mine | {"evaluation": evaluation_settings(mine["evaluation"])}
        theirs["arms"] = {name: with_defaults(arm) for name, arm in theirs.get("arms", {}).items()}
        changed = [name for name, value in wanted.items() if theirs.get(name) != value]
        if not changed:
            return
        if any(map(holds_work, out.glob("*/seed-*/run"))):
            raise UsageError(f"{out} holds another study ({', '.join(changed)} differ): give another --out")
        for start in out.glob("start-*"):
            shutil.rmtree(start)
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no study: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    jsonl.write_json(path, {"study": mine})


def _require_models(jobs: Sequence[Job], models: Sequence[str]) -> None:
    """Raise UsageError where a run started from another of the models than its seed's place gives it: its arm
    would be compared with arms that start from that one."""
    known = {model_identity(model) for model in models}
    for job in jobs:
        run = job.folder / "run"
        started = jsonl.read_json(run / SETTINGS_FILE)["model"] if job.settings and holds_work(run) else None
        if started in known - {model_identity(job.model)}:
            raise UsageError(
                f"{job.name} started from {started}, and its place among the seeds gives it {job.model} now: "
                "the seeds take turns, so add seeds behind those that are there"
            )
