"""`strive-data`: the command line of the offline half. Arguments in, one call, a few lines out.

Each command imports what it needs when it runs, so that help and argument errors appear at once and decoding
workers, which import this module, stay small.
"""

from __future__ import annotations

from pathlib import Path
from shlex import join
from typing import Annotated, cast, get_args

import typer

from strive_data.common import console
from strive_data.common.console import (
    Assignments,
    PublishedConfig,
    echo,
    exit_code,
    option,
    settings_option,
    terminable,
    written,
)
from strive_data.common.options import (
    Build,
    BuildAnywhere,
    Cache,
    Candidates,
    ColumnNames,
    ComparedBy,
    DataRoot,
    EngineName,
    FramesPerVariant,
    RayAddress,
    RayGpus,
    RayScorers,
    RecipeName,
    RetryFailed,
    Rows,
    ScorerName,
    Shards,
    TableOut,
    TableSource,
    VariantsPerVideo,
    Workers,
    argument,
)
from strive_data.common.settings import choose, load, settings_file
from strive_data.common.storage import place_of
from strive_data.common.text import counted_samples, plural
from strive_data.config import ENGINES, BuildSettings, ClusterOptions
from strive_data.errors import Terminated, UsageError
from strive_data.export.cli import export

BuildSettingsHelp = Annotated[str | None, settings_option(lambda: BuildSettings)]
app = console.make_app("From videos and questions to scored, sampled, sharded training data.")


@app.command()
def build(
    annotations: Rows,
    data_root: DataRoot,
    out: Shards,
    scorer: ScorerName = None,
    candidates: Candidates = None,
    frames: FramesPerVariant = None,
    variants: VariantsPerVideo = None,
    workers: Workers = 0,
    recipe: RecipeName = None,
    columns: ColumnNames = None,
    cache: Cache = None,
    engine: EngineName = "local",
    ray_address: RayAddress = "",
    scorers: RayScorers = 0,
    gpus_per_scorer: RayGpus = None,
    retry_failed: RetryFailed = False,
    help_settings: BuildSettingsHelp = None,
    config: PublishedConfig = None,
    set_: Assignments = None,
) -> None:
    """Decode, score and sample videos once into WebDataset shards; the same command resumes a build."""
    options = {
        "score.scorer": scorer,
        "decode.candidates": candidates,
        "sampler.frames": frames,
        "sampler.variants": variants,
    }
    file = settings_file(config, "builds")
    settings = load(BuildSettings, config=file, options=options, assignments=set_ or ())
    choose(engine, ENGINES, "engine")
    cluster = ClusterOptions(address=ray_address, scorers=scorers, gpus_per_scorer=gpus_per_scorer)
    from strive_data.annotations.recipes import column_names
    from strive_data.build.pipeline import build as run_build
    from strive_data.build.progress import BuildProgress
    from strive_data.build.summary import stopped_line, summary_lines

    try:
        with BuildProgress() as progress, terminable(progress.say):
            summary = run_build(
                annotations,
                data_root=data_root,
                out=out,
                settings=settings,
                observer=progress,
                workers=workers,
                recipe=recipe,
                columns=column_names(columns or ""),
                cache=cache,
                engine=engine,
                cluster=cluster,
                retry_failed=retry_failed,
            )
    except (KeyboardInterrupt, Terminated) as stop:
        echo(stopped_line(out), err=True)
        raise typer.Exit(exit_code(stop)) from stop
    for line in summary_lines(summary, out, cache):
        echo(line)


@app.command()
def inspect(
    folder: BuildAnywhere,
    sample: Annotated[
        str | None, option(text="Id of one sample: all its frames, scores, variants; default all.")
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Every row and video that failed, and why.")
    ] = False,
    table: Annotated[
        str | None,
        option(text="samples, frames, failures or index; default samples with an option for rows."),
    ] = None,
    where: Annotated[
        str | None,
        option(
            text="SQL condition on the columns of the table, such as duration_seconds > 60; default none."
        ),
    ] = None,
    columns: Annotated[str | None, option(text="Columns to show, separated by commas; default all.")] = None,
    limit: Annotated[
        int | None, option(text="Largest number of rows; default 50 on the screen, all in a file.", min=0)
    ] = None,
    out: Annotated[
        Path | None,
        written(
            "Write the rows: .csv (lists as JSON text; texts that a spreadsheet would run begin with an "
            "apostrophe) or .parquet; default the screen."
        ),
    ] = None,
) -> None:
    """Print the tables of a build: an overview, one sample, or the rows of a table."""
    if failures and table not in (None, "failures"):
        raise UsageError(f"--failures is --table failures; got --table {table} too: leave one out")
    from strive_data.inspect.tables import build_overview, sample_overview, table_rows
    from strive_data.shards.output import local_copy

    rows_wanted = table or where or columns or out or failures or limit is not None
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    name = "failures" if failures else table or ("frames" if sample is not None else "samples")
    with local_copy(folder, tables_only=True) as tables:
        if rows_wanted:
            text = table_rows(tables, name, where=where, columns=names, sample=sample, limit=limit, out=out)
        else:
            text = sample_overview(tables, sample) if sample is not None else build_overview(tables)
        # For a build at a URL, print the URL instead of the folder of the copy.
        shown = folder if isinstance(place_of(folder), str) else str(tables)
        echo(text.replace(str(tables), shown))


@app.command()
def report(
    folder: Build,
    out: Annotated[Path | None, written("HTML file; default report[-chosen].html in the build.")] = None,
    sample: Annotated[list[str] | None, option(text="Show this sample, repeatable.")] = None,
    where: Annotated[
        str | None, option(text="Show samples that fulfil this SQL condition; default all.")
    ] = None,
    seed: Annotated[
        int | None, option(text="Seed to draw samples at random; default evenly spread samples.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="Largest number of samples if none is named.", min=1)] = 12,
) -> None:
    """Write one HTML page that shows which frames the variants took, and why."""
    if sample and (where is not None or seed is not None):
        raise UsageError("--sample names the samples: leave out --where and --seed")
    from strive_data.inspect.report import Selection, write_report

    selection = Selection(sample_ids=sample or (), where=where, limit=limit, seed=seed)
    path = out or folder / selection.file
    echo(f"{path}: {plural(write_report(folder, path, selection), 'sample')}")


@app.command()
def plot(
    folder: Build,
    sample: Annotated[str, typer.Argument(help="Id of the sample.", show_default=False)],
    out: Annotated[Path, written("PNG file to write.")],
) -> None:
    """Draw the time line of one sample, as the report shows it, into a PNG."""
    from strive_data.inspect.timeline import write_plot

    width, height = write_plot(folder, sample, out)
    echo(f"{out}: {width}×{height} pixels")


@app.command()
def judge(
    folder: Annotated[
        Path,
        argument("A finished build whose samples have evidence spans, or the QVHighlights folder."),
    ],
    sampler: Annotated[
        list[str] | None,
        option(text="Name, with settings: comb:alpha=0.6,epsilon=0.5; repeatable; default every sampler."),
    ] = None,
    frames: Annotated[
        list[int] | None, option(text="Frames of a variant, repeatable; default 4 8 16 32, or the build's.")
    ] = None,
    variants: Annotated[
        list[int] | None, option(text="Variants of a video, repeatable; default 2 4, or the build's.")
    ] = None,
    noise: Annotated[
        list[float] | None,
        option(text="Noise added to the scores, in their robust spreads, repeatable; default 0 1."),
    ] = None,
    drawn_offsets: Annotated[
        bool, typer.Option("--drawn-offsets", help="Offsets as in training, instead of one half.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap over videos.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the noise and the bootstrap.", min=0)] = 0,
    out: TableOut = None,
) -> None:
    """Compare samplers on questions with known evidence: which part of each video matters."""
    from strive_data.inspect.cases import read_cases
    from strive_data.inspect.compare_samplers import Comparison, as_text, compare
    from strive_data.inspect.tables import check_out, write_rows

    if out:
        check_out(out)
    cases = read_cases(folder)
    built, default, count = cases.built, Comparison(), plural(len(cases.cases), "question")
    comparison = Comparison(
        samplers=tuple(sampler or default.samplers),
        frames=tuple(frames or ([built.frames] if built else default.frames)),
        variants=tuple(variants or ([built.variants] if built else default.variants)),
        noise=tuple(noise or default.noise),
        drawn_offsets=drawn_offsets,
        resamples=resamples,
        seed=seed,
    )
    table = compare(cases.cases, comparison, base=built)
    echo(f"{cases.source}: {count}; {cases.without} without known evidence left out")
    echo(as_text(table))
    if out:
        write_rows(table.lazy(), out)


@app.command()
def overlap(
    train: Annotated[Path, argument("Finished build to train on.", "TRAIN")],
    evaluation: Annotated[Path, argument("Finished build to evaluate on.", "EVAL")],
    by: ComparedBy = "picture",
    threshold: Annotated[
        float | None,
        option(text="Least cosine of like frames; default 0.75 for picture, none for embeddings."),
    ] = None,
    hits: Annotated[int, typer.Option(help="Like frames that must agree on one shift in time.", min=1)] = 4,
    config: Annotated[Path | None, option(text="Settings file, TOML, for the scorer; default none.")] = None,
    set_: Assignments = None,
    out: TableOut = None,
) -> None:
    """List videos of EVAL that TRAIN also holds: re-encoded, cropped or cut copies, and the same packets."""
    from strive_data.inspect.overlap import (
        PICTURE,
        STORED,
        OverlapSettings,
        as_overlap_text,
        embed_by,
        find_overlap,
        threshold_of,
    )
    from strive_data.inspect.tables import check_out, write_rows

    if out:
        check_out(out)
    wanted = OverlapSettings(threshold=threshold_of(by, threshold), least_hits=hits)
    options = {} if by in (PICTURE, STORED) else {"score.scorer": by}
    score = load(BuildSettings, config=config, options=options, assignments=set_ or ()).score
    table = find_overlap(train, evaluation, embed_by(by, score), wanted)
    echo(as_overlap_text(table))
    if out:
        write_rows(table.lazy(), out)


@app.command()
def verify(
    folder: BuildAnywhere,
    workers: Annotated[int, typer.Option(help="Reading processes; 0: one a core.", min=0)] = 0,
) -> None:
    """Read every byte of a build and name each problem; exit code 1 if there is one.

    A build at a URL is copied to this machine first.
    """
    from strive_data.build.progress import ShardProgress
    from strive_data.build.verify import verify_build
    from strive_data.shards.output import local_copy

    with local_copy(folder, tables_only=False) as local, ShardProgress("read") as progress:
        result = verify_build(local, workers=workers, observe=progress)
    for problem in result.problems:
        echo(f"{folder}/{problem}")
    counts = {"shard": result.shards, "sample": result.samples, "frame": result.frames}
    read = ", ".join(plural(count, noun) for noun, count in counts.items())
    found = plural(len(result.problems), "problem") if result.problems else "no problem"
    echo(f"{folder}: {found}; read {read}, {result.size_bytes / 1e6:.1f} MB")
    if result.problems:
        raise typer.Exit(1)


@app.command()
def merge(
    folders: Annotated[list[Path], argument("Finished builds of equal settings, two or more.", "FOLDERS...")],
    out: Annotated[Path, written("New folder for the joined build.")],
) -> None:
    """Join finished builds into one: shards unchanged under new numbers, and all tables."""
    from strive_data.build.merge import merge_builds
    from strive_data.build.progress import ShardProgress

    with ShardProgress("joined") as progress:
        counts, resolved = merge_builds(folders, out, observe=progress)
    echo(f"{out}: {counted_samples(counts)}, of {plural(len(folders), 'build')}")
    if resolved:
        echo(f"  dropped, because another build has the sample: {plural(resolved, 'failure')}")


app.command()(export)


@app.command()
def synth(
    out: Annotated[Path, written("New folder for the videos and questions.jsonl.")],
    videos: Annotated[int, typer.Option(help="Number of videos.", min=1)] = 48,
    questions: Annotated[int, typer.Option(help="Questions of each video.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Another seed renders another world.", min=0)] = 0,
    level: Annotated[
        str, typer.Option(help="easy: one moment answers a question; hard: also order and counts.")
    ] = "easy",
    kind: Annotated[
        list[str] | None,
        option(text="Kind of the hard level's questions: moment, order, count; repeatable; default all."),
    ] = None,
) -> None:
    """Render a small world of needle videos: what a question asks about is visible only for a short while."""
    from strive_data.demo.draw import write_world
    from strive_data.demo.levels import LEVELS, Kind, Level, build_options

    chosen = cast(Level, choose(level, LEVELS, "--level"))
    annotation = write_world(
        out,
        videos=videos,
        questions_per_video=questions,
        seed=seed,
        level=chosen,
        kinds=[cast(Kind, choose(each, get_args(Kind), "--kind")) for each in kind or ()],
    )
    echo(f"{annotation}: {plural(videos, 'video')}, {plural(videos * questions, 'question')}")
    build = join(["strive-data", "build", str(annotation), "--data-root", str(out), "--out", "shards"])
    echo(f"next, as the demo's models need it: {build} {build_options(chosen)}")


@app.command()
def init(
    source: TableSource,
    out: Annotated[Path, written("CSV file to write; for a parquet file, a new folder.")],
) -> None:
    """Write a table of videos and images below a folder to fill in, or those in a parquet file as files."""
    from strive_data.annotations.new_table import start_table

    for line in start_table(source, out):
        echo(line)


@app.command()
def recipes() -> None:
    """List the data sets and benchmarks that are read as they are, and the columns that show them."""
    from strive_data.annotations.recipes import packaged_recipes

    for name, recipe in packaged_recipes().items():
        echo(f"{name}: {recipe.title}")
        echo(f"  columns: {', '.join(recipe.columns) or f'by --recipe {name} only'}")
        for project in recipe.project.split():
            echo(f"  {project}")


def main() -> None:
    """Entry point."""
    console.run(app)
