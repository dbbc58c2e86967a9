"""`strive-data`: the command line of the offline half. Arguments in, one call, a few lines out.

Each command imports what it needs when it runs, so that help and argument errors appear at once and decoding
workers, which import this module, stay small.
"""

from __future__ import annotations

from pathlib import Path
from shlex import join
from typing import Annotated, cast

import typer

from strive_data.common import console
from strive_data.common.console import (
    Assignments,
    BuildAnywhere,
    ColumnNames,
    PublishedConfig,
    argument,
    echo,
    existing,
    lasting_place,
    local_folder,
    local_folder_or_file,
    local_path,
    option,
    settings_option,
    written,
)
from strive_data.common.files import require_suffix
from strive_data.common.settings import choose, load, settings_file
from strive_data.common.signals import exit_code, terminable
from strive_data.common.storage import place_of
from strive_data.common.text import counted_samples, plural
from strive_data.errors import Terminated
from strive_data.inspect.commands import inspect, judge, overlap, plot, report
from strive_data.shards.run_file import require_builds, require_several, require_started


def _build_settings() -> type:
    from strive_data.config import BuildSettings

    return BuildSettings


Rows = Annotated[
    list[str],
    argument(
        "Annotation files: JSON, JSON lines, CSV, TSV or parquet; paths or URLs.",
        "ANNOTATIONS...",
        existing("annotation file"),
    ),
]
DataRoot = Annotated[
    str,
    option(
        text="Folder or URL that the annotation's video paths start from.",
        parser=existing("--data-root folder"),
        metavar="FOLDER",
    ),
]
Shards = Annotated[
    str,
    option(
        text="Folder or URL for shards, tables and run.json: a new one, or a build to continue.",
        parser=lasting_place,
        metavar="FOLDER",
    ),
]
ScorerName = Annotated[
    str | None,
    option(
        text="clip, vlm, blip-itm, qwen3-vl-reranker, cascade, precomputed, flat (all frames alike), "
        "demo, demo-noisy, your package.module:ClassName or entry point; default clip."
    ),
]
Candidates = Annotated[int | None, option(text="Frames scored in each video; default 128.")]
FramesPerVariant = Annotated[int | None, option(text="Frames in a variant, even; default 32.")]
VariantsPerVideo = Annotated[int | None, option(text="Variants of a video; default 2.")]
Workers = Annotated[int, typer.Option(help="Decoding processes; 0: one a core.", min=0)]
RecipeName = Annotated[
    str | None,
    option(text="How to read the annotation: a name, or FILE.toml; default: chosen by the column names."),
]
Cache = Annotated[
    Path | None,
    written("Folder that keeps decoded and embedded videos for later builds; default none.", folder=True),
]
EngineName = Annotated[
    str, typer.Option(help="Where videos are decoded and scored: local, or ray for a cluster.")
]
RayAddress = Annotated[
    str,
    typer.Option(help="Address of a Ray cluster, auto or HOST:PORT; empty: a cluster on this machine only."),
]
RayScorers = Annotated[int, typer.Option(help="Scoring actors of --engine ray; 0: one a GPU, or one.", min=0)]
RayGpus = Annotated[
    float | None,
    option(
        text="GPUs of each scoring actor of --engine ray, may be a fraction; default 1 if there are GPUs.",
        min=0,
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try the rows of failures.parquet again.")]
BuildSettingsHelp = Annotated[str | None, settings_option(_build_settings)]
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
    from strive_data.config import ENGINES, BuildSettings, ClusterOptions, require_scorer

    options: dict[str, object] = {"score.scorer": scorer, "decode.candidates": candidates}
    options |= {"sampler.frames": frames, "sampler.variants": variants}
    file = settings_file(config, "builds")
    settings = load(BuildSettings, config=file, options=options, assignments=set_ or ())
    choose(engine, ENGINES, "engine")
    cluster = ClusterOptions(address=ray_address, scorers=scorers, gpus_per_scorer=gpus_per_scorer)
    require_scorer(settings.score.scorer)
    from strive_data.annotations.recipes import column_names, find_recipe

    named = column_names(columns or "")
    if recipe is not None:
        find_recipe(recipe)
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
                columns=named,
                cache=cache,
                engine=engine,
                cluster=cluster,
                retry_failed=retry_failed,
            )
    except (KeyboardInterrupt, Terminated) as stop:
        echo(stopped_line(out), err=True)
        raise typer.Exit(exit_code(stop)) from stop
    echo("\n".join(summary_lines(summary, out, cache)))


for command in (inspect, report, plot, judge, overlap):
    app.command()(command)


@app.command()
def verify(
    folder: BuildAnywhere,
    workers: Annotated[int, typer.Option(help="Reading processes; 0: one a core.", min=0)] = 0,
) -> None:
    """Read every byte of a build and name each problem; exit code 1 if there is one.

    A build at a URL is copied to this machine first.
    """
    if isinstance(place := place_of(folder), Path):
        require_started(place)
    from strive_data.build.progress import shard_progress
    from strive_data.build.verify import verify_build
    from strive_data.shards.output import local_copy

    with local_copy(folder, tables_only=False) as local, shard_progress("read") as progress:
        result = verify_build(local, workers=workers, observe=progress)
    for problem in result.problems:
        echo(f"{folder}/{problem}")
    read = ", ".join(plural(result.read[f"{noun}s"], noun) for noun in ("shard", "sample", "frame"))
    found = plural(len(result.problems), "problem") if result.problems else "no problem"
    echo(f"{folder}: {found}; read {read}, {result.read['bytes'] / 1e6:.1f} MB")
    if result.problems:
        raise typer.Exit(1)


@app.command()
def merge(
    folders: Annotated[list[Path], argument("Finished builds of equal settings, two or more.", "FOLDERS...")],
    out: Annotated[Path, written("New folder for the joined build.", folder=True)],
) -> None:
    """Join finished builds into one: shards unchanged under new numbers, and all tables."""
    require_several(folders, out)
    require_builds(*folders)
    from strive_data.build.merge import merge_builds
    from strive_data.build.progress import shard_progress

    with shard_progress("joined") as progress:
        counts, resolved = merge_builds(folders, out, observe=progress)
    echo(f"{out}: {counted_samples(counts)}, of {plural(len(folders), 'build')}")
    if resolved:
        echo(f"  dropped, because another build has the sample: {plural(resolved, 'failure')}")


@app.command()
def export(
    folder: BuildAnywhere,
    to: Annotated[
        str, option(text="Who will read it: easyr1, verl, messages (ms-swift), trl, datasets or lmms-eval.")
    ],
    out: Annotated[Path, written("New folder for the export.", folder=True)],
    variants: Annotated[
        str | None,
        option(text="Variants: all, or numbers from 0, and uniform, separated by commas; default all."),
    ] = None,
    time_stamps: Annotated[
        bool, option("--time-stamps", text="Put its time before each frame of a prompt; default no times.")
    ] = False,
    instruction: Annotated[
        str | None, option(text="Text that ends each prompt, such as how to answer; default none.")
    ] = None,
    data_root: Annotated[
        Path | None,
        option(
            text="Folder of the videos, for frame numbers (lmms-eval only); default none.",
            parser=local_folder,
            metavar="FOLDER",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        option(
            text="The benchmark's own table, whose rows get the key frames (lmms-eval only); default none.",
            parser=local_path,
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Write the chosen frames with their times, questions and answers as another tool reads them."""
    from strive_data.config import ALL_VARIANTS, EXPORT_LAYOUTS, ExportOptions

    choose(to, EXPORT_LAYOUTS, "layout")
    options = ExportOptions(
        variants=tuple(name.strip() for name in (ALL_VARIANTS if variants is None else variants).split(",")),
        time_stamps=time_stamps,
        instruction=instruction or "",
    )
    require_builds(folder)
    from strive_data.build.progress import shard_progress
    from strive_data.export.layouts import export_build

    with shard_progress("exported") as progress:
        summary = export_build(
            folder, to, out, options=options, data_root=data_root, table=table, observe=progress
        )
    counts = (plural(summary.rows, "row"), plural(summary.samples, "sample"), plural(summary.frames, "frame"))
    echo(f"{out}: {counts[0]} of {counts[1]}, {counts[2]}")
    if summary.left_out:
        echo(f"  without key frames, left out: {plural(summary.left_out, 'row')} of {table}")
    echo(f"  {summary.usage}")
    if summary.note:
        echo(f"  {summary.note}")


@app.command()
def synth(
    out: Annotated[Path, written("New folder for the videos and questions.jsonl.", folder=True)],
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
    from strive_data.config import DEMO_KINDS, DEMO_LEVELS

    choose(level, DEMO_LEVELS, "--level")
    for each in kind or ():
        choose(each, DEMO_KINDS, "--kind")
    from strive_data.common.files import disk_full_named
    from strive_data.demo.draw import write_world
    from strive_data.demo.world import Kind, Level, build_options

    chosen, kinds = cast(Level, level), [cast(Kind, each) for each in kind or ()]
    with disk_full_named(out, "give a new folder"):
        annotation = write_world(
            out, videos=videos, questions_per_video=questions, seed=seed, level=chosen, kinds=kinds
        )
    echo(f"{annotation}: {plural(videos, 'video')}, {plural(videos * questions, 'question')}")
    build = join(["strive-data", "build", str(annotation), "--data-root", str(out), "--out", "shards"])
    echo(f"next, as the demo's models need it: {build} {build_options(chosen)}")


@app.command()
def init(
    source: Annotated[
        Path,
        argument(
            "Folder of videos, images or folders of frames; or a parquet file with videos or images in it.",
            "FOLDER|FILE",
            local_folder_or_file,
        ),
    ],
    out: Annotated[Path, written("CSV file to write; for a parquet file, a new folder.")],
) -> None:
    """Write a table of videos and images below a folder to fill in, or those in a parquet file as files."""
    if source.is_dir():
        require_suffix(out, (".csv",))
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
