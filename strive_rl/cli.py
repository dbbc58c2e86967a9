"""`strive-rl`: the command line of the training half. Arguments in, one call, a few lines out.

Costly imports are inside the commands, after the arguments are checked: help and errors come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strive_data.common import console
from strive_data.common.console import Assignments, Config, PublishedConfig, echo, option, written
from strive_data.common.settings import load, settings_file
from strive_data.errors import UsageError
from strive_rl.common.options import (
    BENCHMARKS,
    Annotations,
    Answers,
    Cache,
    Format,
    Frames,
    Missing,
    Model,
    Prompt,
    Recipe,
    RunFolder,
    Samplers,
    Scorer,
    Seed,
    Temperature,
    Workers,
)

if TYPE_CHECKING:
    from strive_rl.eval.config import BenchmarkSettings, EvalSettings

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
    }
    file = settings_file(config, "runs")
    settings = load(TrainSettings, config=file, options=options, assignments=set_ or ())
    from strive_rl.common.preflight import require_model, require_run_folder
    from strive_rl.common.progress import quiet_libraries

    resumes = resume or resume_from is not None
    if not dry_run:
        from strive_rl.algorithm.reward import load_rules
        from strive_rl.common.trackers import require_trackers

        require_run_folder(out, resume=resumes)
        require_trackers(settings.log)
        load_rules(settings.reward)
    require_model(model, None if dry_run else settings.policy.device)
    from strive_data.shards.reader import ShardSet

    cache = Path(settings.data.cache) if settings.data.cache else None
    data = [ShardSet.open(where, cache) for where in shards]
    quiet_libraries()
    if dry_run:
        from strive_rl.train.dry_run import plan, plan_text

        return echo(plan_text(plan(data, model=model, settings=settings, processes=nproc)))
    from strive_rl.train.launch import launch

    code = launch(data, model=model, out=out, settings=settings, resume=resumes, resume_from=resume_from)
    raise typer.Exit(code)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or one of its checkpoints.")],
    out: Annotated[Path, written("New folder.")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Only the low-rank adapters, for peft; default all, merged.")
    ] = False,
) -> None:
    """Write the model as a plain folder of transformers, without the trainer's state."""
    from strive_rl.train.export import export as write

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


@app.command(name="eval")
def evaluate(
    model: Model,
    out: Annotated[Path, written("New folder for predictions and results, or one to resume.")],
    shards: Annotated[
        str | None, option(text="Folder or fsspec URL of a finished build: evaluate on its samples.")
    ] = None,
    benchmark: Annotated[str | None, option(text=f"Or evaluate on a benchmark: {BENCHMARKS}.")] = None,
    data_root: Annotated[
        Path | None, option(text="Folder that the benchmark's video paths start from.")
    ] = None,
    annotations: Annotations = None,
    frames: Frames = None,
    sampler: Samplers = None,
    scorer: Scorer = None,
    prompt: Prompt = None,
    temperature: Temperature = None,
    answers: Answers = None,
    seed: Seed = None,
    engine: Annotated[
        str | None, option(text="What samples the answers: builtin, or vllm (the [vllm] extra).")
    ] = None,
    missing: Missing = None,
    cache: Cache = None,
    workers: Workers = 0,
    recipe: Recipe = None,
    baseline: Annotated[Path | None, option(text="Folder of another evaluation: print the gain.")] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Accuracy with a 95 % interval over videos, by frame sampler: on the samples of a build, or on a
    benchmark's own videos (the same command resumes it)."""
    from strive_rl.eval.config import BenchmarkSettings, EvalSettings

    if (shards is None) == (benchmark is None):
        raise UsageError("eval: give --shards (samples of a build), or --benchmark with --data-root")
    common: dict[str, object] = {"samplers": sampler, "temperature": temperature, "answers": answers}
    common |= {"seed": seed, "engine": engine}
    of_videos = {"sampler.frames": frames, "score.scorer": scorer, "prompt": prompt, "missing": missing}
    reading = {"data_root": data_root, "annotations": annotations, "recipe": recipe, "cache": cache}
    if shards is not None:
        _refuse_of_videos({**of_videos, **reading, "workers": workers or None})
        on_samples = load(EvalSettings, config=config, options=common, assignments=set_ or ())
        _evaluate_shards(out, shards, model, on_samples, baseline)
        return
    options = {**common, **of_videos}
    on_videos = load(BenchmarkSettings, config=config, options=options, assignments=set_ or ())
    if data_root is None:
        raise UsageError("eval --benchmark: give --data-root, the folder that its video paths start from")
    files, name = tuple(annotations or ()), benchmark or ""
    raise typer.Exit(
        _evaluate_benchmark(
            out, name, data_root, files, model, recipe, on_videos, workers, cache, baseline=baseline
        )
    )


def _refuse_of_videos(options: Mapping[str, object]) -> None:
    """Raise UsageError for options that say how videos are read: the samples of a build hold their frames."""
    names = [
        name.rpartition(".")[2].replace("_", "-") for name, given in options.items() if given is not None
    ]
    if names:
        given = ", ".join(f"--{name}" for name in names)
        raise UsageError(
            f"eval --shards: {given}: only for --benchmark, since the samples of a build hold their frames "
            "and questions; leave it out"
        )


def _evaluate_shards(
    out: Path, shards: str, model: str, settings: EvalSettings, baseline: Path | None
) -> None:
    from strive_rl.common.preflight import require_model
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.common.run_settings import require_folder

    require_folder(out)
    require_model(model, settings.policy.device)
    from strive_data.common.output_folder import output_folder
    from strive_data.shards.reader import ShardSet

    data = ShardSet.open(shards)
    from strive_rl.common.profiling import oom_hint
    from strive_rl.common.progress import EvalProgress
    from strive_rl.eval import on_shards as evaluation
    from strive_rl.eval.table import results_table

    quiet_libraries()
    results = evaluation.finished_results(out, shards=data, model=model, settings=settings, baseline=baseline)
    if results is not None:
        echo(f"{out}: finished already, nothing to do")
        echo(results_table(results))
        return
    with output_folder(out), EvalProgress() as progress, oom_hint(settings.policy):
        results = evaluation.evaluate(
            out, shards=data, model=model, settings=settings, baseline=baseline, observe=progress
        )
    echo(results_table(results))


def _evaluate_benchmark(
    out: Path,
    benchmark: str,
    data_root: Path,
    annotations: tuple[Path, ...],
    model: str,
    recipe: str | None,
    settings: BenchmarkSettings,
    workers: int,
    cache: Path | None,
    *,
    baseline: Path | None,
) -> int:
    from strive_rl.common.preflight import require_model
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.common.run_settings import require_folder

    require_folder(out)
    require_model(model, settings.policy.device)
    from strive_rl.benchmarks.items import find_annotations
    from strive_rl.benchmarks.registry import find_benchmark

    found = find_benchmark(benchmark)
    files = annotations or find_annotations(found, data_root)
    from strive_rl.eval.launch import launch
    from strive_rl.eval.on_benchmark import RuntimeOptions, Task

    quiet_libraries()
    task = Task(benchmark=found, annotations=files, data_root=data_root, model=model, recipe=recipe)
    runtime = RuntimeOptions(workers=workers, cache=cache)
    return launch(out, task=task, settings=settings, runtime=runtime, baseline=baseline)


@app.command()
def score(
    predictions: Annotated[list[Path], typer.Argument(help="Files of outputs, or folders of an evaluation.")],
    benchmark: Annotated[str, option(text=f"{BENCHMARKS}.")],
    out: Annotated[Path, written("New folder for results, scored questions and the page.")],
    annotations: Annotations = None,
    judgements: Annotated[
        Path | None, option(text="A judge's answers to for_judge.jsonl; default none.")
    ] = None,
    missing: Missing = None,
    format_: Format = None,
    sampler: Annotated[str | None, option(text="Frame sampler, where the predictions hold several.")] = None,
    recipe: Recipe = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Score the outputs of any system on a benchmark as its authors do. Needs no model."""
    from strive_rl.benchmarks.registry import find_benchmark
    from strive_rl.eval import score as scoring
    from strive_rl.eval.config import PAGE_FILE
    from strive_rl.eval.table import score_table

    options = {"missing": missing, "format": format_, "sampler": sampler, "recipe": recipe}
    settings = load(scoring.ScoreSettings, config=config, options=options, assignments=set_ or ())
    results = scoring.score(
        predictions,
        out,
        benchmark=find_benchmark(benchmark),
        annotations=annotations or (),
        judgements=judgements,
        settings=settings,
    )
    echo(score_table(results))
    echo(f"{out / PAGE_FILE}: examples")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of `strive-rl score` or `eval`: the baseline.")],
    b: Annotated[Path, typer.Argument(help="Another one, on the same questions.")],
    out: Annotated[Path | None, written("New folder for the page and the JSON; default none.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare only the questions that both hold.")
    ] = False,
    convention: Annotated[str | None, option(text="Way of scoring; default the benchmark's own.")] = None,
    sampler: Annotated[
        str | None, option(text="Frame sampler of an evaluation; default uniform, or its only one.")
    ] = None,
    sampler_b: Annotated[str | None, option(text="Frame sampler of B; default that of A.")] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """B minus A, paired question by question, with intervals over videos and sign tests."""
    from strive_rl.eval import compare as comparing
    from strive_rl.eval.table import compare_table

    options = {"convention": convention, "sampler": sampler, "sampler_b": sampler_b}
    settings = load(comparing.CompareSettings, config=config, options=options, assignments=set_ or ())
    echo(compare_table(comparing.compare(a, b, settings=settings, common=common, out=out)))


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
) -> None:
    """Completions of a run, the best and worst of each variant: prompt, frames, reward, advantage."""
    from strive_rl.inspect.show import show as shown

    echo(shown(run, step=step, question=question))


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="A TOML file, or a name in manifests/studies.")],
    shards: Annotated[str, option(text="Build to train on.")],
    heldout: Annotated[str, option(text="Build to evaluate on.")],
    model: Model,
    out: Annotated[Path, written("Folder of the study's runs; the same command resumes it.")],
    seeds: Annotated[int | None, option(text="Number of the study's seeds to run; default all.")] = None,
    steps: Annotated[int | None, option(text="Steps of each run; default the study's.")] = None,
) -> None:
    """Train and evaluate arms of settings with the same seeds: accuracies, paired gains, standard errors."""
    from strive_rl.common.preflight import require_model
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.study.plan import read_study

    path = settings_file(file, "studies") or file
    plan = read_study(path, seeds=seeds, steps=steps)
    require_model(model, plan.arms[0].settings.policy.device)
    from strive_data.common.output_folder import output_folder
    from strive_data.shards.reader import ShardSet

    data, test = ShardSet.open(shards), ShardSet.open(heldout)
    from strive_rl.study.run import run_study, study_table

    quiet_libraries()
    with output_folder(out):
        results = run_study(
            plan, out, shards=data, heldout=test, model=model, observe=lambda line: echo(line, err=True)
        )
    echo(study_table(results))


def main() -> None:
    """Entry point."""
    console.run(app)
