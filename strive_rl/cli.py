"""`strive-rl`: the command line of the training half. Arguments in, one call, a few lines out.

Costly imports are inside the commands, after the arguments are checked: help and errors come at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strive_data.common import console
from strive_data.common.console import Assignments, PublishedConfig, echo, option, written
from strive_data.common.settings import load, settings_file
from strive_data.errors import UsageError
from strive_rl.common.options import Model, RunFolder, Seed, TrainSettingsHelp
from strive_rl.eval.cli import compare, evaluate, probe, score
from strive_rl.study.cli import study

if TYPE_CHECKING:
    from strive_rl.config import TrainSettings

app = console.make_app("Train and evaluate a video policy on the shards of strive-data build.")


@app.command()
def train(
    shards: Annotated[list[str], option(text="Folder or fsspec URL of a finished build; repeatable.")],
    model: Model,
    out: Annotated[Path, written("Folder of the run: metrics, checkpoints, model.")],
    steps: Annotated[int | None, option(text="Training steps; default 1000.")] = None,
    variants: Annotated[int | None, option(text="Variants M of each video; default 2.")] = None,
    completions: Annotated[int | None, option(text="Completions G of each variant; default 4.")] = None,
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
        bool, typer.Option("--dry-run", help="Print settings and the memory estimate, then exit.")
    ] = False,
    nproc: Annotated[int, typer.Option(help="Processes that --dry-run plans for.", min=1)] = 1,
    help_settings: TrainSettingsHelp = None,
    config: PublishedConfig = None,
    set_: Assignments = None,
) -> None:
    """Train a policy: M variants of each video, G completions of each variant, one joint advantage."""
    from strive_rl.config import TrainSettings

    options = {
        "steps": steps,
        "data.variants": variants,
        "rollout.completions": completions,
        "seed": seed,
        "keep": keep,
        "validation.every": eval_every,
        "validation.patience": patience,
    }
    if heldout is None and (eval_every is not None or patience is not None):
        raise UsageError("train: --eval-every and --patience need --heldout, the build to evaluate on")
    file = settings_file(config, "runs")
    settings = load(TrainSettings, config=file, options=options, assignments=set_ or ())
    _train(
        shards,
        model=model,
        out=out,
        settings=settings,
        heldout=heldout,
        resume=resume or resume_from is not None,
        resume_from=resume_from,
        planned=nproc if dry_run else None,
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
    planned: int | None,
) -> None:
    """Train, or print the plan for `planned` processes; cheap mistakes are refused before torch loads."""
    from strive_rl.common.preflight import require_model

    if planned is None:
        _require_run(out, settings, resume=resume)
    require_model(model, settings.policy.device if planned is None else None)
    from strive_data.shards.reader import ShardSet
    from strive_rl.common.progress import quiet_libraries

    cache = Path(settings.data.cache) if settings.data.cache else None
    data = [ShardSet.open(where, cache) for where in shards]
    test = ShardSet.open(heldout, cache) if heldout else None
    quiet_libraries()
    if planned is not None:
        from strive_rl.dry_run import plan, plan_text

        return echo(plan_text(plan(data, model=model, settings=settings, processes=planned)))
    from strive_rl.train.launch import launch

    raise typer.Exit(
        launch(
            data,
            model=model,
            out=out,
            settings=settings,
            resume=resume,
            resume_from=resume_from,
            heldout=test,
        )
    )


def _require_run(out: Path, settings: TrainSettings, *, resume: bool) -> None:
    """Raise UsageError for an output, a package, a tracker or a reward that cannot be used, before torch is
    imported."""
    from strive_rl.common.preflight import require_adapters, require_run_folder
    from strive_rl.common.trackers import require_trackers

    require_run_folder(out, resume=resume)
    require_trackers(settings.log)
    require_adapters(settings.policy.lora_rank)
    if settings.reward.function:
        from strive_rl.algorithm.reward import require_reward

        require_reward(settings.reward)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or one of its checkpoints.")],
    out: Annotated[Path, written("New folder.")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Only the low-rank adapters, for peft; default all, merged.")
    ] = False,
) -> None:
    """Write the model as a plain folder of transformers, without the trainer's state."""
    from strive_rl.export import export as write

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
    from strive_rl.inspect.verify import verify as check

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
    out: Annotated[Path, written("File to write; its name ends in .png or .html.")],
    smooth: Annotated[
        int | None,
        option(text="Steps in the moving average; 1: none; default a 25th of the longest run."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Draw runs that differ only in their seed as one mean and range.")
    ] = False,
) -> None:
    """Curves of runs on one page: reward, exploration, policy, speed."""
    from strive_rl.inspect.plot import plot as plot_runs

    count = plot_runs(runs, out, smooth=smooth, group=group)
    echo(f"{out}: {count} curves" if count > 1 else f"{out}: one curve")


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


app.command()(study)


def main() -> None:
    """Entry point."""
    console.run(app)
