"""The commands `eval`, `score` and `compare` of `strive-rl`, which `strive_rl.cli` registers.

Costly imports are inside the commands, after the arguments are checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strive_data.common.console import Assignments, ColumnNames, Config, echo, option, written
from strive_data.common.files import near_path
from strive_data.common.settings import as_dict, choose, load
from strive_data.errors import UsageError
from strive_data.shards.run_file import PASS_RATES_FILE, require_builds
from strive_rl.common.options import (
    BENCHMARK_NAMES,
    BENCHMARKS,
    PREDICTION_FORMATS,
    Annotations,
    Cache,
    CompareSettingsHelp,
    Completions,
    Controls,
    EvalSettingsHelp,
    Format,
    Frames,
    MaxNewTokens,
    Missing,
    Model,
    ProbeSettingsHelp,
    Prompt,
    Recipe,
    Samplers,
    Scorer,
    ScoreSettingsHelp,
    Seed,
    Temperature,
    Variants,
    Vote,
    Workers,
)

if TYPE_CHECKING:
    from strive_rl.eval.config import BenchmarkSettings, EvalSettings


KEPT = "the answers so far are kept"


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
    max_new_tokens: MaxNewTokens = None,
    completions: Completions = None,
    variants: Variants = None,
    vote: Vote = False,
    control: Controls = None,
    seed: Seed = None,
    engine: Annotated[
        str | None, option(text="What samples the answers: builtin, or vllm (the [vllm] extra).")
    ] = None,
    missing: Missing = None,
    cache: Cache = None,
    workers: Workers = 0,
    recipe: Recipe = None,
    columns: ColumnNames = None,
    baseline: Annotated[Path | None, option(text="Folder of another evaluation: print the gain.")] = None,
    help_settings: EvalSettingsHelp = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Accuracy with a 95 % interval over videos, by frame sampler: on the samples of a build, or on a
    benchmark's own videos (the same command resumes it)."""
    from strive_rl.common.preflight import locked, require_one_process
    from strive_rl.eval.config import BenchmarkSettings, EvalSettings

    if (shards is None) == (benchmark is None):
        raise UsageError("eval: give --shards (samples of a build), or --benchmark with --data-root")
    common: dict[str, object] = {"samplers": sampler, "temperature": temperature, "completions": completions}
    common |= {"seed": seed, "engine": engine, "variants": variants, "controls": control}
    common |= {"max_new_tokens": max_new_tokens, "vote": vote or None}
    of_videos = {"sampler.frames": frames, "score.scorer": scorer, "prompt": prompt, "missing": missing}
    reading: dict[str, Any] = {"data_root": data_root, "annotations": annotations}
    reading |= {"recipe": recipe, "columns": columns, "cache": cache, "workers": workers or None}
    if shards is not None:
        require_one_process("eval --shards")
        _refuse_of_videos({**of_videos, **reading})
        on_samples = load(EvalSettings, config=config, options=common, assignments=set_ or ())
        with locked(out, kept=lambda: KEPT):
            _evaluate_shards(out, shards, model, on_samples, baseline)
        return
    on_videos = load(BenchmarkSettings, config=config, options=common | of_videos, assignments=set_ or ())
    if data_root is None:
        raise UsageError("eval --benchmark: give --data-root, the folder that its video paths start from")
    with locked(out, kept=lambda: KEPT):
        _evaluate_benchmark(out, benchmark or "", model, on_videos, baseline, **reading)


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
    from strive_data.config import SAMPLER_NAMES
    from strive_rl.common.preflight import require_extras, require_model, require_results
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.common.run_settings import require_evaluation
    from strive_rl.eval.config import EVALUATION_SAMPLERS

    require_model(model, settings.policy.device)
    require_extras(settings, model=model)
    if baseline:
        require_results(baseline)
    for name in settings.samplers:
        choose(name, {*EVALUATION_SAMPLERS, *SAMPLER_NAMES}, "samplers")
    require_builds(shards)
    from strive_data.shards.reader import ShardSet
    from strive_rl.eval.frames import require_views

    data = ShardSet.open(shards)
    require_views(data, settings)
    require_evaluation(out, as_dict(settings), model=model, shards=data)
    quiet_libraries()
    from strive_rl.common.profiling import oom_hint
    from strive_rl.common.progress import EvalProgress
    from strive_rl.data.dataset import multiples_of
    from strive_rl.eval import on_shards as evaluation
    from strive_rl.eval.table import results_table
    from strive_rl.policy.load import warn_if_resized

    results = evaluation.finished_results(out, shards=data, model=model, settings=settings, baseline=baseline)
    if results is not None:
        echo(f"{out}: finished already, nothing to do")
    else:
        warn_if_resized(model, multiples_of(data))
        with EvalProgress() as progress, oom_hint(settings.policy):
            results = evaluation.evaluate(
                out, shards=data, model=model, settings=settings, baseline=baseline, observe=progress
            )
    echo(results_table(results))
    echo(f"examples: {', '.join(map(str, evaluation.write_pages(out, settings)))}")


def _evaluate_benchmark(
    out: Path,
    benchmark: str,
    model: str,
    settings: BenchmarkSettings,
    baseline: Path | None,
    *,
    data_root: Path,
    annotations: Sequence[Path] | None,
    recipe: str | None,
    columns: str | None,
    cache: Path | None,
    workers: int | None,
) -> None:
    from strive_data.annotations.recipes import column_names, find_recipe
    from strive_data.config import SAMPLER_NAMES, require_scorer
    from strive_rl.common.preflight import require_extras, require_model, require_results
    from strive_rl.common.progress import quiet_libraries

    named = column_names(columns or "")
    require_model(model, settings.policy.device)
    require_extras(settings, model=model)
    for name in settings.samplers:
        choose(name, SAMPLER_NAMES, "sampler")
    require_scorer(settings.score.scorer)
    if recipe is not None:
        find_recipe(recipe)
    if baseline:
        require_results(baseline)
    choose(benchmark, BENCHMARK_NAMES, "benchmark")
    if not annotations and not data_root.is_dir():
        raise UsageError(f"--data-root {data_root}: no such folder{near_path(data_root)}")
    _require_files("--annotations", annotations or ())
    from strive_rl.benchmarks.items import find_annotations
    from strive_rl.benchmarks.rules import find_benchmark
    from strive_rl.eval.frames import require_samplers

    require_samplers(settings)
    found = find_benchmark(benchmark)
    files = tuple(annotations or find_annotations(found, data_root))
    quiet_libraries()
    from strive_rl.eval.on_benchmark import Task, launch

    task = Task(
        benchmark=found,
        annotations=files,
        data_root=data_root,
        model=model,
        settings=settings,
        recipe=recipe,
        columns=named,
        workers=workers or 0,
        cache=cache,
    )
    launch(out, task=task, baseline=baseline)


def _require_files(option: str, files: Iterable[Path]) -> None:
    """Raise UsageError for a file that is not there."""
    for absent in (file for file in files if not file.exists()):
        raise UsageError(f"{option} {absent}: no such file{near_path(absent)}")


def probe(
    shards: Annotated[str, option(text="Folder or fsspec URL of a finished build.")],
    model: Model,
    out: Annotated[Path | None, written("Folder for pass_rates.parquet; default that of the build.")] = None,
    variants: Annotated[int | None, option(text="Variants V of each video; default 2.")] = None,
    completions: Annotated[int | None, option(text="Completions of each variant; default 4.")] = None,
    temperature: Annotated[float | None, option(text="Of sampling; default 1.")] = None,
    max_new_tokens: MaxNewTokens = None,
    seed: Seed = None,
    engine: Annotated[
        str | None, option(text="What samples the answers: builtin, or vllm (the [vllm] extra).")
    ] = None,
    help_settings: ProbeSettingsHelp = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Pass rate of each question and variant of a build, to look at or to filter by."""
    from strive_rl.common.preflight import locked, require_extras, require_model, require_new
    from strive_rl.common.progress import quiet_libraries
    from strive_rl.eval.config import ProbeSettings

    options: dict[str, object] = {"variants": variants, "completions": completions}
    options |= {"temperature": temperature, "seed": seed, "engine": engine, "max_new_tokens": max_new_tokens}
    settings = load(ProbeSettings, config=config, options=options, assignments=set_ or ())
    if out is None and "://" in shards:
        raise UsageError(f"probe --shards {shards}: give --out, a local folder for {PASS_RATES_FILE}")
    file = (out or Path(shards)) / PASS_RATES_FILE

    with locked(file.parent, kept=lambda: "no pass rate is kept"):
        require_new(file)
        require_model(model, settings.policy.device)
        require_extras(settings, model=model)
        require_builds(shards)
        from strive_data.shards.reader import ShardSet

        data = ShardSet.open(shards)
        quiet_libraries()
        from strive_rl.data.dataset import multiples_of
        from strive_rl.eval.probe import launch
        from strive_rl.policy.load import warn_if_resized

        warn_if_resized(model, multiples_of(data))
        launch(file, shards=data, model=model, settings=settings)


def score(
    predictions: Annotated[list[Path], typer.Argument(help="Files of outputs, or folders of an evaluation.")],
    benchmark: Annotated[str, option(text=f"{BENCHMARKS}.")],
    out: Annotated[Path, written("New folder for results, scored questions and the page.", folder=True)],
    annotations: Annotations = None,
    judgements: Annotated[
        Path | None, option(text="A judge's answers to for_judge.jsonl; default none.")
    ] = None,
    missing: Missing = None,
    format_: Format = None,
    sampler: Annotated[str | None, option(text="Frame sampler, where the predictions hold several.")] = None,
    recipe: Recipe = None,
    columns: ColumnNames = None,
    vote: Annotated[
        bool, typer.Option("--vote", help="Of several predictions of a question count the one they elect.")
    ] = False,
    help_settings: ScoreSettingsHelp = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Score the outputs of any system on a benchmark as its authors do. Needs no model."""
    from strive_data.annotations.recipes import column_names, find_recipe
    from strive_rl.eval.config import PAGE_FILE, ScoreSettings

    options: dict[str, object] = {"missing": missing, "format": format_, "sampler": sampler}
    options |= {"recipe": recipe, "vote": vote or None}
    if columns and not annotations:
        raise UsageError("score: --columns names those of --annotations: give these too, or leave it out")
    settings = load(ScoreSettings, config=config, options=options, assignments=set_ or ())
    choose(benchmark, BENCHMARK_NAMES, "benchmark")
    if settings.format:
        choose(settings.format, PREDICTION_FORMATS, "format")
    named = column_names(columns or "")
    if recipe is not None:
        find_recipe(recipe)
    _require_files("predictions", predictions)
    _require_files("--annotations", annotations or ())
    _require_files("--judgements", [judgements] if judgements else ())
    from strive_rl.benchmarks.rules import find_benchmark
    from strive_rl.eval import score as scoring
    from strive_rl.eval.table import score_table

    results = scoring.score(
        predictions,
        out,
        benchmark=find_benchmark(benchmark),
        annotations=annotations or (),
        columns=named,
        judgements=judgements,
        settings=settings,
    )
    echo(score_table(results))
    echo(f"{out / PAGE_FILE}: examples")


def compare(
    a: Annotated[Path, typer.Argument(help="Folder of `strive-rl score` or `eval`: the baseline.")],
    b: Annotated[Path, typer.Argument(help="Another one, on the same questions.")],
    out: Annotated[
        Path | None, written("New folder for the page and the JSON; default none.", folder=True)
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare only the questions that both hold.")
    ] = False,
    convention: Annotated[str | None, option(text="Way of scoring; default the benchmark's own.")] = None,
    sampler: Annotated[
        str | None, option(text="Frame sampler of an evaluation; default uniform, or its only one.")
    ] = None,
    sampler_b: Annotated[str | None, option(text="Frame sampler of B; default that of A.")] = None,
    help_settings: CompareSettingsHelp = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """B minus A, paired question by question, with intervals over videos and sign tests."""
    from strive_rl.common.preflight import require_results
    from strive_rl.eval.config import CompareSettings

    require_results(a, b)
    options = {"convention": convention, "sampler": sampler, "sampler_b": sampler_b}
    settings = load(CompareSettings, config=config, options=options, assignments=set_ or ())
    from strive_rl.eval import compare as comparing
    from strive_rl.eval.table import compare_heading, compare_table

    results = comparing.compare(a, b, settings=settings, common=common, out=out)
    echo(compare_heading(results))
    echo(compare_table(results))
