"""One arm and seed: train, evaluate at each point of the study. What a worker process runs.

FOLDER/run is a run of `strive-rl train`, FOLDER/eval an evaluation of its model, FOLDER/eval-STEP one of its
checkpoint after STEP steps. Checkpoints are removed once all evaluations exist.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TextIO

from strive_data.common.files import output_folder
from strive_data.shards.reader import ShardSet
from strive_rl.common.progress import EvalProgress, TrainProgress, quiet_libraries
from strive_rl.common.run_settings import holds_work
from strive_rl.config import TrainSettings
from strive_rl.eval.config import RESULTS_FILE
from strive_rl.eval.on_shards import evaluate
from strive_rl.study.plan import Job
from strive_rl.train import checkpoint, state, trainer


def run_job(job: Job, shards: ShardSet, heldout: ShardSet, stream: TextIO | None = None) -> None:
    """Run what is missing of a job. Its progress goes to `stream`, by default standard error."""
    run = job.folder / "run"
    trained = _train(job, job.settings, run, shards, stream) if job.settings else job.model
    for step in job.steps:
        folder = job.results(step)
        if not (folder / RESULTS_FILE).is_file():
            model = trained if step == job.steps[-1] else str(checkpoint.checkpoint_folder(run, step))
            with EvalProgress(stream) as progress:
                evaluate(folder, shards=heldout, model=model, settings=job.evaluation, observe=progress)
    if len(job.steps) > 1:
        for folder in checkpoint.checkpoints(run).values():
            shutil.rmtree(folder)


def _train(job: Job, settings: TrainSettings, run: Path, shards: ShardSet, stream: TextIO | None) -> str:
    """Train what is missing of a run; the folder of its model."""
    open_run = state.resume if holds_work(run) else state.start
    with output_folder(run), TrainProgress(stream) as progress:
        opened = open_run(run, shards=shards, model=job.model, settings=settings)
        return str(trainer.fit(opened, progress))


def run_job_in_worker(job: Job, shards: str, heldout: str) -> None:
    """`run_job` with the builds by their places. One thread: the workers share the cores."""
    import torch

    torch.set_num_threads(1)
    quiet_libraries(say=False)
    with Path(os.devnull).open("w") as nowhere:
        run_job(job, ShardSet.open(shards), ShardSet.open(heldout), nowhere)
