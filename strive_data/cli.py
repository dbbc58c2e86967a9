"""`strive-data`: the command line of the offline half. Arguments in, one call, a few lines out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from strive_data.analysis.judge import Contest, as_text, compare
from strive_data.analysis.judge_cases import read_cases
from strive_data.analysis.overlap import OverlapSettings, as_overlap_text, find_overlap, threshold_of
from strive_data.analysis.overlap_frames import PICTURE, STORED, embed_by
from strive_data.build import build as run_build
from strive_data.common import console
from strive_data.common.console import (
    Assignments,
    PublishedConfig,
    Terminated,
    echo,
    exit_code,
    lasting_place,
    option,
    terminable,
    written,
)
from strive_data.common.settings import choose, load, settings_file
from strive_data.common.text import plural
from strive_data.config import BuildSettings
from strive_data.demo.write import write_world
from strive_data.engines.ray import ClusterOptions
from strive_data.errors import UsageError
from strive_data.inspect.plot import write_plot
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.tables import build_overview, check_out, sample_overview, table_rows, write_rows
from strive_data.merge import DUPLICATES, Duplicates, merge_builds, some_of
from strive_data.progress import BuildProgress, ShardProgress
from strive_data.run import counted_samples, stopped_line, summary_lines
from strive_data.shards.finalize import is_remote, local_copy, local_folder
from strive_data.verify import verify_build

app = console.make_app("From videos and questions to scored, sampled, sharded training data.")

Build = Annotated[
    Path,
    typer.Argument(
        help="Folder of a finished build.", show_default=False, parser=local_folder, metavar="FOLDER"
    ),
]
BuildAnywhere = Annotated[
    str, typer.Argument(help="Folder or URL of a finished build.", metavar="FOLDER", show_default=False)
]


@app.command()
def build(
    annotations: Annotated[
        list[str],
        typer.Argument(
            help="Annotation files: JSON, JSON lines, CSV or parquet; paths or URLs.", show_default=False
        ),
    ],
    data_root: Annotated[
        str, typer.Option(help="Folder or URL that the annotation's video paths start from.")
    ],
    out: Annotated[
        str,
        option(
            text="Folder or URL for shards, tables and run.json: new, or of a build to go on with.",
            parser=lasting_place,
            metavar="FOLDER",
        ),
    ],
    scorer: Annotated[
        str | None,
        option(
            text="clip, demo, vlm, cascade, precomputed, your package.module:ClassName or entry point; "
            "default clip."
        ),
    ] = None,
    candidates: Annotated[int | None, option(text="Frames scored, a video; default 128.")] = None,
    frames: Annotated[int | None, option(text="Frames of a variant, even; default 32.")] = None,
    variants: Annotated[int | None, option(text="Variants of a video; default 2.")] = None,
    workers: Annotated[int, typer.Option(help="Decoding processes; 0: one a core.", min=0)] = 0,
    recipe: Annotated[
        str | None,
        option(text="How to read the annotation: a name, or FILE.toml; default: the columns tell."),
    ] = None,
    cache: Annotated[
        Path | None,
        written("Folder that keeps decoded and embedded videos for later builds; default none."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where videos are decoded and scored: local, or ray for a cluster.")
    ] = "local",
    ray_address: Annotated[
        str, typer.Option(help="Of a Ray cluster: auto or HOST:PORT; none: one of this machine alone.")
    ] = "",
    scorers: Annotated[
        int, typer.Option(help="Scoring actors of --engine ray; 0: one a GPU, or one.", min=0)
    ] = 0,
    gpus_per_scorer: Annotated[
        float | None,
        option(text="Of --engine ray, may be a fraction; default 1 where the cluster has GPUs.", min=0),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the rows of failures.parquet again.")
    ] = False,
    config: PublishedConfig = None,
    set_: Assignments = None,
) -> None:
    """Decode, score and sample videos once, and write WebDataset shards and tables.

    Stopped at any moment and started again with the same command, it goes on where it was.
    """
    options = {
        "score.scorer": scorer,
        "decode.candidates": candidates,
        "sampler.frames": frames,
        "sampler.variants": variants,
    }
    file = settings_file(config, "builds")
    settings = load(BuildSettings, config=file, options=options, assignments=set_ or ())
    try:
        with terminable(), BuildProgress() as progress:
            summary = run_build(
                annotations,
                data_root=data_root,
                out=out,
                settings=settings,
                observer=progress,
                workers=workers,
                recipe=recipe,
                cache=cache,
                engine=engine,
                cluster=ClusterOptions(address=ray_address, scorers=scorers, gpus_per_scorer=gpus_per_scorer),
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
        bool, typer.Option("--failures", help="Every row and video that could not be used, and why.")
    ] = False,
    table: Annotated[
        str | None,
        option(text="samples, frames, failures or index; default samples where rows are asked for."),
    ] = None,
    where: Annotated[
        str | None,
        option(
            text="SQL condition on the columns of the table, such as duration_seconds > 60; default none."
        ),
    ] = None,
    columns: Annotated[str | None, option(text="Columns shown, with commas between; default all.")] = None,
    limit: Annotated[
        int | None, option(text="Most rows; default 50 on the screen, all in a file.", min=0)
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
    asked = table or where or columns or out or limit is not None
    if failures and table not in (None, "failures"):
        raise UsageError(f"--failures is --table failures; got --table {table} too: leave one out")
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    name = "failures" if failures else table or ("frames" if sample is not None else "samples")
    with local_copy(folder, tables_only=True) as tables:
        if asked or failures:
            text = table_rows(tables, name, where=where, columns=names, sample=sample, limit=limit, out=out)
        else:
            text = sample_overview(tables, sample) if sample is not None else build_overview(tables)
        # Of a build behind a URL the name, not that of the copy.
        name = folder if is_remote(folder) else str(tables)
        echo(text.replace(str(tables), name))


@app.command()
def report(
    folder: Build,
    out: Annotated[Path | None, written("HTML file; default report.html in the build.")] = None,
    sample: Annotated[list[str] | None, option(text="Show this sample, repeatable.")] = None,
    where: Annotated[
        str | None, option(text="Of the samples for which this SQL condition holds; default all.")
    ] = None,
    seed: Annotated[
        int | None, option(text="Draw the samples at random by this seed; default evenly spread.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="Most samples shown where none is named.", min=1)] = 12,
) -> None:
    """Write one HTML page that shows which frames the variants took, and why."""
    if sample and (where is not None or seed is not None):
        raise UsageError("--sample names the samples: leave out --where and --seed")
    path = out or folder / "report.html"
    selection = Selection(sample_ids=sample or (), where=where, limit=limit, seed=seed)
    echo(f"{path}: {plural(write_report(folder, path, selection), 'sample')}")


@app.command()
def plot(
    folder: Build,
    sample: Annotated[str, typer.Argument(help="Id of the sample.", show_default=False)],
    out: Annotated[Path, written("PNG file to write.")],
) -> None:
    """Draw the time line of one sample, as the report shows it, into a PNG."""
    width, height = write_plot(folder, sample, out)
    echo(f"{out}: {width}×{height} pixels")


@app.command()
def judge(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A finished build whose samples have evidence spans, or the QVHighlights folder.",
            show_default=False,
            parser=local_folder,
            metavar="FOLDER",
        ),
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
    drawn_phases: Annotated[
        bool, typer.Option("--drawn-phases", help="Phases as in training, instead of one half.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap over videos.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the noise and the bootstrap.", min=0)] = 0,
    out: Annotated[Path | None, written("Also write the table: .csv or .parquet; default none.")] = None,
) -> None:
    """Compare samplers where it is known which part of each video matters."""
    if out:
        check_out(out)
    cases = read_cases(folder)
    built, default = cases.built, Contest()
    contest = Contest(
        samplers=tuple(sampler or default.samplers),
        frames=tuple(frames or ([built.frames] if built else default.frames)),
        variants=tuple(variants or ([built.variants] if built else default.variants)),
        noise=tuple(noise or default.noise),
        drawn_phases=drawn_phases,
        resamples=resamples,
        seed=seed,
    )
    table = compare(cases.cases, contest, base=cases.built)
    asked = plural(len(cases.cases), "question")
    echo(f"{cases.source}: {asked}; {cases.without} without known evidence left out")
    echo(as_text(table))
    if out:
        write_rows(table.lazy(), out)


@app.command()
def overlap(
    train: Annotated[
        Path,
        typer.Argument(
            help="Finished build to train on.", show_default=False, parser=local_folder, metavar="TRAIN"
        ),
    ],
    evaluation: Annotated[
        Path,
        typer.Argument(
            metavar="EVAL", help="Finished build to evaluate on.", show_default=False, parser=local_folder
        ),
    ],
    by: Annotated[
        str,
        typer.Option(
            help="What frames are compared by: picture (coarse grey shapes, no model), stored (embeddings of "
            "shard.embeds), or a scorer that embeds: clip, demo."
        ),
    ] = PICTURE,
    threshold: Annotated[
        float | None,
        option(text="Least cosine of like frames; default 0.75 for picture, none for embeddings."),
    ] = None,
    hits: Annotated[int, typer.Option(help="Like frames that must agree on one shift in time.", min=1)] = 4,
    config: Annotated[Path | None, option(text="Settings file, TOML, for the scorer; default none.")] = None,
    set_: Assignments = None,
    out: Annotated[Path | None, written("Also write the table: .csv or .parquet; default none.")] = None,
) -> None:
    """List videos of EVAL that TRAIN holds too: re-encoded, cropped or cut copies, and the same packets."""
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
    """Read every byte of a build again, and name all that is wrong; exit code 1 where something is.

    A build behind a URL is copied to this machine first.
    """
    with local_copy(folder, tables_only=False) as local, ShardProgress("read") as progress:
        verdict = verify_build(local, workers=workers, observe=progress)
    for problem in verdict.problems:
        echo(f"{folder}/{problem}")
    numbers = {"shard": verdict.shards, "sample": verdict.samples, "frame": verdict.frames}
    read = ", ".join(plural(count, noun) for noun, count in numbers.items())
    found = plural(len(verdict.problems), "problem") if verdict.problems else "nothing wrong"
    echo(f"{folder}: {found}; read {read}, {verdict.size_bytes / 1e6:.1f} MB")
    if verdict.problems:
        raise typer.Exit(1)


@app.command()
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Finished builds of equal settings, two or more.",
            show_default=False,
            parser=local_folder,
            metavar="FOLDERS...",
        ),
    ],
    out: Annotated[Path, written("New folder for the joined build.")],
    duplicates: Annotated[
        str,
        typer.Option(
            help="One sample id with different content in two builds: refuse, or first: the build named "
            "first is right."
        ),
    ] = "refuse",
    copy: Annotated[bool, typer.Option("--copy", help="Copy the shards, where hard links would do.")] = False,
) -> None:
    """Join finished builds into one: shards as they are, under new numbers, and all tables."""
    policy = cast(Duplicates, choose(duplicates, DUPLICATES, "--duplicates"))
    with ShardProgress("joined") as progress:
        joined = merge_builds(folders, out, duplicates=policy, copy=copy, observe=progress)
    counts = counted_samples(
        samples=joined.samples,
        videos=joined.videos,
        tried_videos=joined.tried_videos,
        shards=joined.shards,
        failures=joined.failures,
    )
    echo(f"{out}: {counts}, of {plural(len(folders), 'build')}")
    if joined.twice:
        echo(f"  stood in several builds, taken once: {plural(joined.twice, 'sample')}")
    if joined.clashes:
        count = plural(len(joined.clashes), "sample")
        echo(f"  had other content in a later build, dropped there: {count}: {some_of(joined.clashes)}")
    if joined.resolved:
        echo(f"  gone, as another build has the sample: {plural(joined.resolved, 'failure')}")


@app.command()
def synth(
    out: Annotated[Path, written("New folder for the videos and questions.jsonl.")],
    videos: Annotated[int, typer.Option(help="Number of videos.", min=1)] = 48,
    questions: Annotated[int, typer.Option(help="Questions of each video.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Another seed, another world.", min=0)] = 0,
) -> None:
    """Render a small world of needle videos: what a question asks about is visible only for a short while."""
    annotation = write_world(out, videos=videos, questions_per_video=questions, seed=seed)
    echo(f"{annotation}: {plural(videos, 'video')}, {plural(videos * questions, 'question')}")


def main() -> None:
    """Entry point."""
    console.run(app)
