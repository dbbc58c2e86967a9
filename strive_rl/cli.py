"""`strive-rl`: the command line of the training half. Arguments in, one call, a few lines out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from strive_data.common import console
from strive_data.common.console import Assignments, Config, PublishedConfig, echo, option, written
from strive_data.common.settings import load, settings_file
from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.config import TrainSettings
from strive_rl.eval.config import BenchmarkSettings, EvalSettings

app = console.make_app("Train and evaluate a video policy on the shards of strive-data build.")

Shards = Annotated[
    str, option(text="Folder or fsspec URL (s3://…, hf://…) of a finished `strive-data build`.")
]
Model = Annotated[
    str, option(text="Qwen2.5-VL or Qwen3-VL, hub name or folder; demo: the tiny model of the package.")
]


@app.command()
def train(
    shards: Annotated[list[str], option(text="Folder or fsspec URL of a finished build; repeatable.")],
    model: Model,
    out: Annotated[Path, written("Folder of the run: metrics, checkpoints, model.")],
    steps: Annotated[int | None, option(text="Optimizer steps; default 1000.")] = None,
    variants: Annotated[int | None, option(text="Variants M of each video; default 2.")] = None,
    completions: Annotated[int | None, option(text="Answers G sampled for each variant; default 4.")] = None,
    seed: Annotated[int | None, option(text="Order, frames and answers follow from it; default 0.")] = None,
    keep: Annotated[int | None, option(text="Newest checkpoints that stay, 0 for all; default 2.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of --out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Begin nothing: print settings, amounts and memory.")
    ] = False,
    nproc: Annotated[
        int, typer.Option(help="Processes that --dry-run is to reckon with; as torchrun's.", min=1)
    ] = 1,
    config: PublishedConfig = None,
    set_: Assignments = None,
) -> None:
    """Train a policy by dual-grouped GRPO: M variants of each video, G answers each, one joint advantage."""
    options = {
        "steps": steps,
        "data.variants": variants,
        "rollout.completions": completions,
        "seed": seed,
        "keep": keep,
    }
    file = settings_file(config, "runs")
    settings = load(TrainSettings, config=file, options=options, assignments=set_ or ())
    cache = Path(settings.data.cache) if settings.data.cache else None
    data = [ShardSet.open(where, cache) for where in shards]
    quiet_libraries()
    if dry_run:
        from strive_rl.train.dry_run import plan, plan_text

        echo(plan_text(plan(data, model=model, settings=settings, processes=nproc)))
        return
    from strive_rl.train.launch import launch

    code = launch(data, model=model, out=out, settings=settings, resume=resume)
    raise typer.Exit(code)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or one of its checkpoints.")],
    out: Annotated[Path, written("New folder.")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="The low-rank adapters alone, for peft; default all, merged.")
    ] = False,
) -> None:
    """Write the model as a plain folder of transformers, without the trainer's state."""
    from strive_rl.train.checkpoint import export as write

    taken = write(source, out, adapter=adapter)
    echo(f"{out}: the {'adapter' if adapter else 'model'} of {taken}")


@app.command(name="eval")
def evaluate(
    model: Model,
    out: Annotated[Path, written("New folder for predictions and results, or one to go on in.")],
    shards: Annotated[
        str | None, option(text="Folder or fsspec URL of a finished build, to evaluate on its samples.")
    ] = None,
    benchmark: Annotated[
        str | None,
        option(text="Or: videomme, tempcompass, videommmu, mmvu, vsibench, perceptiontest, own."),
    ] = None,
    data_root: Annotated[
        Path | None, option(text="Folder that the benchmark's video paths start from.")
    ] = None,
    annotations: Annotated[
        list[Path] | None, option(text="The benchmark's files, repeatable; default those in --data-root.")
    ] = None,
    frames: Annotated[int | None, option(text="Frames K that the model sees of a video; default 32.")] = None,
    sampler: Annotated[
        list[str] | None,
        option(text="Frame sampler, repeatable, each a column of its own; default uniform."),
    ] = None,
    scorer: Annotated[
        str | None, option(text="What scores frames for samplers but uniform, as in build; default clip.")
    ] = None,
    prompt: Annotated[str | None, option(text="reason (default) or direct: whether to think first.")] = None,
    temperature: Annotated[float | None, option(text="0, the default, is greedy.")] = None,
    answers: Annotated[
        int | None, option(text="Answers sampled for each question, whose mean counts; default 1.")
    ] = None,
    seed: Annotated[int | None, option(text="Sampled answers and intervals follow from it.")] = None,
    missing: Annotated[
        str | None, option(text="wrong (default) or exclude: questions without an answer.")
    ] = None,
    cache: Annotated[
        Path | None, written("Folder of decoded videos, shared with builds; default none.")
    ] = None,
    workers: Annotated[int, option(text="Decoding processes; default one a core.")] = 0,
    recipe: Annotated[
        str | None, option(text="How to read the annotation; default told by its columns.")
    ] = None,
    baseline: Annotated[Path | None, option(text="Folder of another evaluation: print the gain.")] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Accuracy with a 95 % interval over videos, by frame sampler: on the samples of a build, or on a
    benchmark's own videos (resumable: the same command goes on)."""
    if (shards is None) == (benchmark is None):
        raise UsageError("eval: give --shards (samples of a build), or --benchmark with --data-root")
    common = {"samplers": sampler, "temperature": temperature, "answers": answers, "seed": seed}
    of_videos = {"sampler.frames": frames, "score.scorer": scorer, "prompt": prompt, "missing": missing}
    reading = {"data_root": data_root, "annotations": annotations, "recipe": recipe, "cache": cache}
    if shards is not None:
        _refuse_of_videos({**of_videos, **reading, "workers": workers or None})
        settings = load(EvalSettings, config=config, options=common, assignments=set_ or ())
        _evaluate_shards(out, shards, model, settings, baseline)
        return
    on_videos = load(
        BenchmarkSettings, config=config, options={**common, **of_videos}, assignments=set_ or ()
    )
    if data_root is None:
        raise UsageError("eval --benchmark: give --data-root, the folder that its video paths start from")
    from strive_rl.benchmarks.items import find_annotations
    from strive_rl.benchmarks.registry import find_benchmark
    from strive_rl.eval.launch import launch
    from strive_rl.eval.on_benchmark import Means, Task

    found = find_benchmark(benchmark or "")
    task = Task(
        benchmark=found,
        annotations=tuple(annotations or ()) or find_annotations(found, data_root),
        data_root=data_root,
        model=model,
        recipe=recipe,
    )
    quiet_libraries()
    means = Means(workers=workers, cache=cache)
    raise typer.Exit(launch(out, task=task, settings=on_videos, means=means, baseline=baseline))


def _refuse_of_videos(options: Mapping[str, object]) -> None:
    """Raise UsageError for options that say how videos are read: a build's samples were read once."""
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
    data = ShardSet.open(shards)
    from strive_rl.common.profiling import memory_advice
    from strive_rl.common.progress import EvalProgress
    from strive_rl.eval import on_shards as evaluation
    from strive_rl.eval.table import results_table

    quiet_libraries()
    results = evaluation.finished_results(out, shards=data, model=model, settings=settings, baseline=baseline)
    if results is not None:
        echo(f"{out}: finished already, nothing to do")
        echo(results_table(results))
        return
    with EvalProgress() as progress, memory_advice(settings.policy):
        results = evaluation.evaluate(
            out, shards=data, model=model, settings=settings, baseline=baseline, observe=progress
        )
    echo(results_table(results))


@app.command()
def score(
    predictions: Annotated[list[Path], typer.Argument(help="Files of outputs, or folders of an evaluation.")],
    benchmark: Annotated[
        str, option(text="videomme, tempcompass, videommmu, mmvu, vsibench, perceptiontest, own.")
    ],
    out: Annotated[Path, written("New folder for results, scored questions and the page.")],
    annotations: Annotated[
        list[Path] | None,
        option(text="The benchmark's files, repeatable; default what the predictions hold."),
    ] = None,
    judgements: Annotated[
        Path | None, option(text="A judge's answers to for_judge.jsonl; default none.")
    ] = None,
    missing: Annotated[
        str | None, option(text="wrong (default) or exclude: questions without an answer.")
    ] = None,
    format_: Annotated[
        str | None,
        option("--format", text="strive, lmms-eval, video-r1 or tempcompass; default told by the file."),
    ] = None,
    sampler: Annotated[str | None, option(text="Frame sampler, where our predictions hold several.")] = None,
    recipe: Annotated[
        str | None, option(text="How to read the annotation; default told by its columns.")
    ] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Score the outputs of any system on a benchmark as its authors do. Needs no model."""
    from strive_rl.benchmarks.registry import find_benchmark
    from strive_rl.eval import score as scoring
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
    echo(f"{out / scoring.PAGE_FILE}: examples")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of `strive-rl score` or `eval`: the baseline.")],
    b: Annotated[Path, typer.Argument(help="Another one, on the same questions.")],
    out: Annotated[Path | None, written("New folder for the page and the JSON; default none.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the questions that both hold, where they differ.")
    ] = False,
    convention: Annotated[str | None, option(text="Way of scoring; default the benchmark's own.")] = None,
    sampler: Annotated[
        str | None, option(text="Frame sampler of an evaluation; default uniform, or its only one.")
    ] = None,
    sampler_b: Annotated[str | None, option(text="The same of B; default that of A.")] = None,
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
    runs: Annotated[list[Path], typer.Argument(help="Folders of strive-rl train, finished or going on.")],
    out: Annotated[Path, written("File to write; its name ends in .png or .html.")],
    smooth: Annotated[
        int | None,
        option(text="Steps that the average reaches back; 1: none; default a 25th of the longest run."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Draw runs that differ by their seed alone as one mean and range.")
    ] = False,
) -> None:
    """Curves of runs on one page: reward, exploration, policy, speed."""
    from strive_rl.inspect.plot import plot as plot_runs

    count = plot_runs(runs, out, smooth=smooth, group=group)
    echo(f"{out}: {count} curves" if count > 1 else f"{out}: one curve")


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Folder of strive-rl train, finished or going on.")],
    step: Annotated[int | None, option(text="Step to read; default the last.")] = None,
    question: Annotated[str | None, option(text="Id of one question; default all that were kept.")] = None,
) -> None:
    """Answers of a run to read, the best and worst of each variant: prompt, frames, reward, advantage."""
    from strive_rl.inspect.show import show as shown

    echo(shown(run, step=step, question=question))


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="A TOML file, or a name in manifests/studies.")],
    shards: Annotated[str, option(text="Build to train on.")],
    heldout: Annotated[str, option(text="Build to evaluate on.")],
    model: Model,
    out: Annotated[Path, written("Folder of the study's runs; given again, it goes on there.")],
    seeds: Annotated[int | None, option(text="Only so many of the study's seeds.")] = None,
    steps: Annotated[int | None, option(text="Steps of each run; default the study's.")] = None,
) -> None:
    """Train and evaluate arms of settings with the same seeds: accuracies, paired gains, standard errors."""
    from strive_rl import study as studies

    quiet_libraries()
    path = settings_file(file, "studies") or file
    results = studies.run_study(
        studies.read_study(path, seeds=seeds, steps=steps),
        out,
        shards=ShardSet.open(shards),
        heldout=ShardSet.open(heldout),
        model=model,
        observe=lambda line: echo(line, err=True),
    )
    echo(studies.study_table(results))


def quiet_libraries() -> None:
    """No progress bars and retry notes of libraries between our own lines; their errors reach the user."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def main() -> None:
    """Entry point."""
    console.run(app)
