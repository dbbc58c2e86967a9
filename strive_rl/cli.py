"""`strive-rl`: the command line of the training half. Arguments in, one call, a few lines out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from strive_data import console
from strive_data.console import Assignments, Config, option
from strive_data.settings import load
from strive_data.shards import ShardSet
from strive_rl.config import EvalSettings, TrainSettings

app = console.make_app("Train and evaluate a video policy on the shards of strive-data build.")

Shards = Annotated[
    str, option(text="Folder or fsspec URL (s3://…, hf://…) of a finished `strive-data build`.")
]
Model = Annotated[str, option(text="Qwen2.5-VL hub name or folder; demo: the tiny model of the package.")]


@app.command()
def train(
    shards: Annotated[list[str], option(text="Folder or fsspec URL of a finished build; repeatable.")],
    model: Model,
    out: Annotated[Path, option(text="Folder of the run: metrics, checkpoints, model.")],
    steps: Annotated[int | None, option(text="Optimizer steps; default 1000.")] = None,
    variants: Annotated[int | None, option(text="Variants M of each video; default 2.")] = None,
    completions: Annotated[int | None, option(text="Answers G sampled for each variant; default 4.")] = None,
    seed: Annotated[int | None, option(text="Order, frames and answers follow from it; default 0.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of --out.")
    ] = False,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Train a policy by dual-grouped GRPO: M variants of each video, G answers each, one joint advantage."""
    options = {
        "steps": steps,
        "data.variants": variants,
        "rollout.completions": completions,
        "seed": seed,
    }
    settings = load(TrainSettings, config=config, options=options, assignments=set_ or ())
    cache = Path(settings.data.cache) if settings.data.cache else None
    data = [ShardSet.open(where, cache) for where in shards]
    from strive_rl import trainer
    from strive_rl.memory import memory_advice
    from strive_rl.progress import TrainProgress

    quiet_libraries()
    begin = trainer.resume if resume else trainer.start
    run = begin(out, shards=data, model=model, settings=settings)
    with TrainProgress() as progress, memory_advice(settings.policy):
        folder = trainer.fit(run, progress)
    typer.echo(f"{folder}: the model after {run.step} steps; metrics in {out / trainer.METRICS_FILE}")


@app.command(name="eval")
def evaluate(
    shards: Shards,
    model: Model,
    out: Annotated[Path, option(text="New folder for predictions and results.")],
    baseline: Annotated[Path | None, option(text="Folder of another evaluation: print the gain.")] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Exact accuracy of greedy answers, with a 95 % interval over videos, by frame sampler."""
    settings = load(EvalSettings, config=config, assignments=set_ or ())
    data = ShardSet.open(shards)
    from strive_rl import evaluate as evaluation
    from strive_rl.memory import memory_advice
    from strive_rl.progress import EvalProgress
    from strive_rl.table import results_table

    quiet_libraries()
    with EvalProgress() as progress, memory_advice(settings.policy):
        results = evaluation.evaluate(
            out, shards=data, model=model, settings=settings, baseline=baseline, observe=progress
        )
    typer.echo(results_table(results))


@app.command()
def score(
    predictions: Annotated[list[Path], typer.Argument(help="Files of outputs, or folders of an evaluation.")],
    benchmark: Annotated[
        str, option(text="videomme, tempcompass, videommmu, mmvu, vsibench, perceptiontest, own.")
    ],
    out: Annotated[Path, option(text="New folder for results, scored questions and the page.")],
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
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Score the outputs of any system on a benchmark as its authors do. Needs no model."""
    from strive_rl import score as scoring
    from strive_rl.benchmarks.registry import find_benchmark
    from strive_rl.score_table import score_table

    options = {"missing": missing, "format": format_, "sampler": sampler}
    settings = load(scoring.ScoreSettings, config=config, options=options, assignments=set_ or ())
    results = scoring.score(
        predictions,
        out,
        benchmark=find_benchmark(benchmark),
        annotations=annotations or (),
        judgements=judgements,
        settings=settings,
    )
    typer.echo(score_table(results))
    typer.echo(f"{out / scoring.PAGE_FILE}: examples")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of `strive-rl score`: the baseline.")],
    b: Annotated[Path, typer.Argument(help="Another one, on the same questions.")],
    out: Annotated[Path | None, option(text="New folder for the page and the JSON; default none.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the questions that both hold, where they differ.")
    ] = False,
    convention: Annotated[str | None, option(text="Way of scoring; default the benchmark's own.")] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """B minus A, paired question by question, with intervals over videos and sign tests."""
    from strive_rl import compare as comparing
    from strive_rl.score_table import compare_table

    settings = load(
        comparing.CompareSettings, config=config, options={"convention": convention}, assignments=set_ or ()
    )
    typer.echo(compare_table(comparing.compare(a, b, settings=settings, common=common, out=out)))


def quiet_libraries() -> None:
    """No progress bars and retry notes of libraries between our own lines; their errors reach the user."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def main() -> None:
    """Entry point."""
    console.run(app)
