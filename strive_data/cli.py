"""`strive-data`: the command line of the offline half. Arguments in, one call, a few lines out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strive_data import console
from strive_data.build import build as run_build
from strive_data.config import BuildSettings
from strive_data.errors import UsageError
from strive_data.export import check_out, write_rows
from strive_data.judge import Contest, as_text, compare, read_cases
from strive_data.overlap import (
    PICTURE,
    STORED,
    OverlapSettings,
    as_overlap_text,
    embed_by,
    find_overlap,
    threshold_of,
)
from strive_data.overview import build_overview, sample_overview, table_rows
from strive_data.plot import write_plot
from strive_data.progress import BuildProgress
from strive_data.report import Selection, write_report
from strive_data.settings import load
from strive_data.synth import write_world

app = console.make_app("From videos and questions to scored, sampled, sharded training data.")

Build = Annotated[Path, typer.Argument(help="Folder of a finished build.", show_default=False)]


@app.command()
def build(
    annotations: Annotated[
        list[Path],
        typer.Argument(help="Annotation files: JSON, JSON lines, CSV or parquet.", show_default=False),
    ],
    data_root: Annotated[Path, typer.Option(help="Folder that the annotation's video paths start from.")],
    out: Annotated[Path, typer.Option(help="New folder for shards, tables and run.json.")],
    scorer: Annotated[
        str | None,
        typer.Option(
            help="clip, demo, vlm, cascade, precomputed, your package.module:ClassName or entry point; "
            "default clip.",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Frames scored, a video; default 128.", show_default=False)
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a variant, even; default 32.", show_default=False)
    ] = None,
    variants: Annotated[
        int | None, typer.Option(help="Variants of a video; default 2.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(help="Decoding processes; 0: one a core.", min=0)] = 0,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How to read the annotation: a name, or FILE.toml; default: the columns tell.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps decoded and embedded videos for later builds; default none.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file, TOML; default none.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file, repeatable.", show_default=False),
    ] = None,
) -> None:
    """Decode, score and sample videos once, and write WebDataset shards and tables."""
    options = {
        "score.scorer": scorer,
        "decode.candidates": candidates,
        "sampler.frames": frames,
        "sampler.variants": variants,
    }
    settings = load(BuildSettings, config=config, options=options, assignments=set_ or ())
    with BuildProgress() as progress:
        summary = run_build(
            annotations,
            data_root=data_root,
            out=out,
            settings=settings,
            observer=progress,
            workers=workers,
            recipe=recipe,
            cache=cache,
        )
    for path, reading in summary.readings.items():
        unread = f"; not read: {', '.join(reading.unread)}" if reading.unread else ""
        typer.echo(f"{path}: recipe {reading.recipe}{unread}")
    for entry in summary.damaged:
        typer.echo(f"{entry}: damaged cache entry, made again")
    if cache:
        typer.echo(f"{cache}: {summary.kept} of {summary.videos} videos came from the cache")
    counts = f"{summary.samples} samples of {summary.videos} videos in {summary.shards} shards"
    typer.echo(f"{out}: {counts}, {len(summary.failures)} failures, {summary.seconds:.1f} s")
    for failure in summary.failures[:10]:
        typer.echo(f"  row {failure.row}, {failure.kind}: {failure.message}")
    if len(summary.failures) > 10:
        typer.echo(f"  and {len(summary.failures) - 10} more: strive-data inspect {out}")


@app.command()
def inspect(
    folder: Build,
    sample: Annotated[
        str | None,
        typer.Option(
            help="Id of one sample: all its frames, scores, variants; default all.", show_default=False
        ),
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Every row and video that could not be used, and why.")
    ] = False,
    table: Annotated[
        str | None,
        typer.Option(
            help="samples, frames, failures or index; default samples where rows are asked for.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="SQL condition on the columns, as duration_seconds > 60; default none.", show_default=False
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns shown, with commas between; default all.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Most rows; default 50 on the screen, all in a file.", min=0, show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows: .csv (lists in it as JSON text) or .parquet; default the screen.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the tables of a build: an overview, one sample, or the rows of a table."""
    asked = table or where or columns or out or limit is not None
    if failures and table not in (None, "failures"):
        raise UsageError(f"--failures is --table failures; got --table {table} too: leave one out")
    if not (asked or failures):
        typer.echo(sample_overview(folder, sample) if sample is not None else build_overview(folder))
        return
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    name = "failures" if failures else table or ("frames" if sample is not None else "samples")
    typer.echo(table_rows(folder, name, where=where, columns=names, sample=sample, limit=limit, out=out))


@app.command()
def report(
    folder: Build,
    out: Annotated[
        Path | None, typer.Option(help="HTML file; default report.html in the build.", show_default=False)
    ] = None,
    sample: Annotated[
        list[str] | None, typer.Option(help="Show this sample, repeatable.", show_default=False)
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Of the samples for which this SQL condition holds; default all.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Draw the samples at random by this seed; default evenly spread.", min=0, show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most samples shown where none is named.", min=1)] = 12,
) -> None:
    """Write one HTML page that shows which frames the variants took, and why."""
    if sample and (where is not None or seed is not None):
        raise UsageError("--sample names the samples: leave out --where and --seed")
    path = out or folder / "report.html"
    selection = Selection(sample_ids=sample or (), where=where, limit=limit, seed=seed)
    typer.echo(f"{path}: {write_report(folder, path, selection)} samples")


@app.command()
def plot(
    folder: Build,
    sample: Annotated[str, typer.Argument(help="Id of the sample.", show_default=False)],
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
) -> None:
    """Draw the time line of one sample, as the report shows it, into a PNG."""
    width, height = write_plot(folder, sample, out)
    typer.echo(f"{out}: {width}×{height} pixels")


@app.command()
def judge(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A finished build whose samples have evidence spans, or the QVHighlights folder.",
            show_default=False,
        ),
    ],
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            help="Name, with settings: comb:alpha=0.6,epsilon=0.5; repeatable; default every sampler.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        list[int] | None,
        typer.Option(
            help="Frames of a variant, repeatable; default 4 8 16 32, or the build's.", show_default=False
        ),
    ] = None,
    variants: Annotated[
        list[int] | None,
        typer.Option(
            help="Variants of a video, repeatable; default 2 4, or the build's.", show_default=False
        ),
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise added to the scores, in their robust spreads, repeatable; default 0 1.",
            show_default=False,
        ),
    ] = None,
    drawn_phases: Annotated[
        bool, typer.Option("--drawn-phases", help="Phases as in training, instead of one half.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap over videos.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the noise and the bootstrap.", min=0)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write the table: .csv or .parquet; default none.", show_default=False),
    ] = None,
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
    typer.echo(
        f"{cases.source}: {len(cases.cases)} questions; {cases.without} without known evidence left out"
    )
    typer.echo(as_text(table))
    if out:
        write_rows(table.lazy(), out)


@app.command()
def overlap(
    train: Annotated[Path, typer.Argument(help="Finished build to train on.", show_default=False)],
    evaluation: Annotated[
        Path, typer.Argument(metavar="EVAL", help="Finished build to evaluate on.", show_default=False)
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
        typer.Option(
            help="Least cosine of like frames; default 0.75 for picture, none for embeddings.",
            show_default=False,
        ),
    ] = None,
    hits: Annotated[int, typer.Option(help="Like frames that must agree on one shift in time.", min=1)] = 4,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file, TOML, for the scorer; default none.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file, repeatable.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write the table: .csv or .parquet; default none.", show_default=False),
    ] = None,
) -> None:
    """List videos of EVAL that TRAIN holds too: re-encoded, cropped or cut copies, and the same packets."""
    if out:
        check_out(out)
    wanted = OverlapSettings(threshold=threshold_of(by, threshold), least_hits=hits)
    options = {} if by in (PICTURE, STORED) else {"score.scorer": by}
    score = load(BuildSettings, config=config, options=options, assignments=set_ or ()).score
    table = find_overlap(train, evaluation, embed_by(by, score), wanted)
    typer.echo(as_overlap_text(table))
    if out:
        write_rows(table.lazy(), out)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="New folder for the videos and questions.jsonl.")],
    videos: Annotated[int, typer.Option(help="Number of videos.", min=1)] = 48,
    questions: Annotated[int, typer.Option(help="Questions of each video.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Another seed, another world.", min=0)] = 0,
) -> None:
    """Render a small world of needle videos: what a question asks about is visible only for a short while."""
    annotation = write_world(out, videos=videos, questions_per_video=questions, seed=seed)
    typer.echo(f"{annotation}: {videos} videos, {videos * questions} questions")


def main() -> None:
    """Entry point."""
    console.run(app)
