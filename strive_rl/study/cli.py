"""The command `strive-rl study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strive_data.common.console import echo, option, written
from strive_data.common.settings import settings_file


def study(
    file: Annotated[Path, typer.Argument(help="A TOML file, or a name in manifests/studies.")],
    shards: Annotated[str, option(text="Build to train on.")],
    heldout: Annotated[str, option(text="Build to evaluate on.")],
    model: Annotated[
        list[str], option(text="Model to start from, as in train; repeated: the seeds take turns.")
    ],
    out: Annotated[Path, written("Folder of the study's runs; the same command resumes it.")],
    seeds: Annotated[int | None, option(text="Number of the study's seeds to run; default all.")] = None,
    steps: Annotated[int | None, option(text="Steps of each run; default the study's.")] = None,
    workers: Annotated[int, typer.Option(help="Runs at a time, each in a process of one thread.", min=1)] = 1,
) -> None:
    """Train and evaluate arms of settings with the same seeds: paired gains with intervals, a page."""
    from strive_rl.common.preflight import locked, require_model
    from strive_rl.study.plan import read_study

    path = settings_file(file, "studies") or file
    plan = read_study(path, seeds=seeds, steps=steps)
    from strive_data.shards.reader import ShardSet
    from strive_rl.data.dataset import Builds, trained_videos
    from strive_rl.study.page import PAGE_FILE, write_page
    from strive_rl.study.results import study_table
    from strive_rl.study.run import run_study

    with locked(out):
        for name in model:
            require_model(name, plan.arms[0].settings.policy.device)
        data, test = ShardSet.open(shards), ShardSet.open(heldout)
        results = run_study(
            plan,
            out,
            shards=data,
            heldout=test,
            models=model,
            observe=lambda line: echo(line, err=True),
            workers=workers,
        )
        write_page(results, out / PAGE_FILE, title=f"Study {path.stem}")
    echo(study_table(results))
    if shared := trained_videos(Builds(data), test):
        echo(f"warning: {shared}", err=True)
    echo(f"{out / PAGE_FILE}: curves, gains, costs")
