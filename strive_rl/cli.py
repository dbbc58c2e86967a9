"""`strive-rl`: the command line of the training half. Arguments in, one call, a few lines out.

Costly imports are inside the commands, after the arguments are checked: help and errors come at once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strive_data.common import console
from strive_data.common.console import Assignments, PublishedConfig, echo, option, written
from strive_data.common.settings import load, settings_file
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_data.shards.run_file import require_builds
from strive_rl.common.options import PLOT_FORMATS, MaxNewTokens, Model, RunFolder, Seed, TrainSettingsHelp
from strive_rl.eval.commands import compare, evaluate, probe, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strive_data.shards.reader import ShardSet
    from strive_rl.config import TrainSettings
    from strive_rl.data import Builds

app = console.make_app("Train and evaluate a video policy on the shards of strive-data build.")


@app.command()
def train(
    shards: Annotated[list[str], option(text="Folder or fsspec URL of a finished build; repeatable.")],
    model: Model,
    out: Annotated[Path, written("Folder of the run: metrics, checkpoints, model.")],
    steps: Annotated[int | None, option(text="Training steps; default 1000.")] = None,
    variants: Annotated[int | None, option(text="Variants M of each video; default 2.")] = None,
    completions: Annotated[int | None, option(text="Completions G of each variant; default 4.")] = None,
    max_new_tokens: MaxNewTokens = None,
    seed: Seed = None,
    keep: Annotated[int | None, option(text="Newest checkpoints to keep, 0 for all; default 2.")] = None,
    heldout: Annotated[
        str | None, option(text="Another build: evaluate on it while training, keep the best checkpoint.")
    ] = None,
    eval_every: Annotated[int | None, option(text="Steps between these evaluations; default 50.")] = None,
    patience: Annotated[
        int | None, option(text="End after this many evaluations without a better one; default never.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run of --out from its newest checkpoint.")
    ] = False,
    resume_from: Annotated[
        Path | None, option(text="Resume from this checkpoint of --out; later ones are renamed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings, the work and the memory estimate, then exit.")
    ] = False,
    nproc: Annotated[int, typer.Option(help="Processes that --dry-run plans for.", min=1)] = 1,
    help_settings: TrainSettingsHelp = None,
    config: PublishedConfig = None,
    set_: Assignments = None,
) -> None:
    """Train a policy: M variants of each video, G completions of each variant, one joint advantage."""
    from strive_rl.common.preflight import RESUME, locked
    from strive_rl.config import TrainSettings

    options: dict[str, object] = {"steps": steps, "seed": seed, "keep": keep, "data.variants": variants}
    options |= {"rollout.completions": completions, "rollout.max_new_tokens": max_new_tokens}
    options |= {"validation.every": eval_every, "validation.patience": patience}
    if heldout is None and (eval_every is not None or patience is not None):
        raise UsageError("train: --eval-every and --patience need --heldout, the build to evaluate on")
    file = settings_file(config, "runs")
    settings = load(TrainSettings, config=file, options=options, assignments=set_ or ())
    if dry_run:
        _plan(shards, model, settings, heldout, nproc)
        return
    with locked(out, RESUME):
        _train(
            shards,
            model=model,
            out=out,
            settings=settings,
            heldout=heldout,
            resume=resume or resume_from is not None,
            resume_from=resume_from,
        )


def _train(
    shards: list[str],
    *,
    model: str,
    out: Path,
    settings: TrainSettings,
    heldout: str | None,
    resume: bool,
    resume_from: Path | None,
) -> None:
    """Train. What is wrong without torch is refused before it is imported."""
    from strive_rl.common.preflight import first_process, require_extras, require_model
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.common.run_folder import find
    from strive_rl.common.run_settings import require_resumable, require_run
    from strive_rl.common.trackers import require_trackers

    if first_process():
        require_run(out, resume=resume)
        require_trackers(settings.log)
        require_extras(settings.rollout, lora_rank=settings.policy.lora_rank, model=model)
        if settings.reward.function is not None:
            from strive_rl.algorithm.reward import require_reward

            require_reward(settings.reward)
        require_model(model, settings.policy.device)
    require_builds(*shards, *filter(None, [heldout]))
    data, test = _opened(shards, settings, heldout)
    if first_process():
        builds = _require_builds(data, test, settings)
        if resume:
            require_resumable(out, settings, model=model, shards=builds, heldout=test)
            find(out, resume_from)
    quiet_libraries()
    from strive_rl.data.dataset import multiples_of
    from strive_rl.policy.load import warn_if_resized
    from strive_rl.train.launch import launch
    from strive_rl.train.state import open_run

    warn_if_resized(model, multiples_of(*data, *([test] if test else [])))
    make = partial(open_run, out, shards=data, model=model, settings=settings, heldout=test)
    launch(partial(make, resume=resume, resume_from=resume_from), settings)


def _plan(
    shards: list[str], model: str, settings: TrainSettings, heldout: str | None, processes: int
) -> None:
    """Print what a run would do and need."""
    from strive_rl.common.preflight import require_model
    from strive_rl.common.progress import quiet_libraries

    require_model(model)
    require_builds(*shards, *filter(None, [heldout]))
    data, test = _opened(shards, settings, heldout)
    _require_builds(data, test, settings)
    quiet_libraries()
    from strive_rl.dry_run.plan import plan, plan_text

    echo(plan_text(plan(data, model=model, settings=settings, processes=processes, heldout=test)))


def _opened(
    shards: list[str], settings: TrainSettings, heldout: str | None
) -> tuple[list[ShardSet], ShardSet | None]:
    from strive_data.shards.reader import ShardSet

    cache = Path(settings.data.cache) if settings.data.cache else None
    data = [ShardSet.open(where, cache) for where in shards]
    return data, ShardSet.open(heldout, cache) if heldout else None


def _require_builds(data: Sequence[ShardSet], heldout: ShardSet | None, settings: TrainSettings) -> Builds:
    """The builds as one. Raises UsageError where they cannot serve the settings; warns of shared held-out
    videos."""
    from strive_rl.data import Builds
    from strive_rl.eval.frames import require_heldout, trained_videos

    builds = Builds(data)
    builds.plans(settings.data, neighbours=settings.policy.frame_pairs == "neighbours")
    require_heldout(heldout, builds, settings)
    if heldout and (shared := trained_videos(builds, heldout)):
        echo(f"warning: {shared}", err=True)
    return builds


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or one of its checkpoints.")],
    out: Annotated[Path, written("New folder.")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Only the low-rank adapters, for peft; default all, merged.")
    ] = False,
) -> None:
    """Write the model as a plain folder of transformers, without the trainer's state."""
    from strive_rl.inspect.export import export as write

    taken = write(source, out, adapter=adapter)
    echo(f"{out}: the {'adapter' if adapter else 'model'} of {taken}")


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a run, of one of its checkpoints, or of a model.")
    ],
) -> None:
    """Check every file of a run's checkpoints and model against its checksum; exit code 1 where one is
    damaged."""
    from strive_rl.common.run_folder import verify as check

    report = check(folder)
    for problem in report.problems:
        echo(problem)
    echo(report.summary)
    if report.problems:
        raise typer.Exit(1)


app.command()(probe)
app.command(name="eval")(evaluate)
app.command()(score)
app.command()(compare)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of strive-rl train, finished or running.")],
    out: Annotated[Path, written("File to write; its name ends in .png or .html.", suffixes=PLOT_FORMATS)],
    smooth: Annotated[
        int | None,
        option(text="Steps in the moving average; 1: none; default a 25th of the longest run."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Draw runs that differ only in their seed as one mean and range.")
    ] = False,
) -> None:
    """Curves of runs on one page: reward, exploration, policy, speed."""
    from strive_rl.inspect.curves import plot as plot_runs

    panels, arms = plot_runs(runs, out, smooth=smooth, group=group)
    echo(f"{out}: {plural(panels, 'panel')} of {plural(arms, 'group' if group else 'run')}")


@app.command()
def show(
    run: RunFolder,
    step: Annotated[int | None, option(text="Step to print; default the last.")] = None,
    question: Annotated[str | None, option(text="Id of one question; default all that were kept.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Whole completions; default the ends of long ones.")
    ] = False,
) -> None:
    """Completions of a run, the best and worst of each variant: prompt, frames, reward, advantage."""
    from strive_rl.inspect.show import show as shown

    echo(shown(run, step=step, question=question, full=full))


@app.command()
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
    for name in model:
        require_model(name, plan.arms[0].settings.policy.device)
    require_builds(shards, heldout)
    from strive_data.shards.reader import ShardSet
    from strive_rl.data import Builds
    from strive_rl.eval.frames import trained_videos
    from strive_rl.study.page import PAGE_FILE, write_page
    from strive_rl.study.results import study_table
    from strive_rl.study.run import kept_of, run_study

    with locked(out, kept=lambda: kept_of(plan, out, model)):
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


def main() -> None:
    """Entry point."""
    console.run(app)
