"""`strive-data`: the command line of the offline half. Arguments in, one call, a few lines out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strive_data import console
from strive_data.build import build as run_build
from strive_data.config import BuildSettings
from strive_data.judge import Contest, as_text, check_out, compare, read_cases, write_table
from strive_data.overview import build_overview, sample_overview
from strive_data.progress import BuildProgress
from strive_data.report import write_report
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
    scorer: Annotated[str | None, typer.Option(help="clip or demo. [default: clip]")] = None,
    candidates: Annotated[int | None, typer.Option(help="Frames scored, a video. [default: 128]")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of a variant, even. [default: 32]")] = None,
    variants: Annotated[int | None, typer.Option(help="Variants of a video. [default: 2]")] = None,
    workers: Annotated[int, typer.Option(help="Decoding processes; 0: one a core.", min=0)] = 0,
    recipe: Annotated[
        str | None,
        typer.Option(help="How to read the annotation: a name, or FILE.toml. [default: the columns tell]"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file, TOML.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value over the file, repeatable.")
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
        )
    for path, reading in summary.readings.items():
        unread = f"; not read: {', '.join(reading.unread)}" if reading.unread else ""
        typer.echo(f"{path}: recipe {reading.recipe}{unread}")
    counts = f"{summary.samples} samples of {summary.videos} videos in {summary.shards} shards"
    typer.echo(f"{out}: {counts}, {len(summary.failures)} failures, {summary.seconds:.1f} s")
    for failure in summary.failures[:10]:
        typer.echo(f"  row {failure.row}, {failure.kind}: {failure.message}")
    if len(summary.failures) > 10:
        typer.echo(f"  and {len(summary.failures) - 10} more: strive-data inspect {out}")


@app.command()
def inspect(
    folder: Build,
    sample: Annotated[str | None, typer.Option(help="One sample: all its frames, scores, variants.")] = None,
) -> None:
    """Print the tables of a build."""
    typer.echo(sample_overview(folder, sample) if sample else build_overview(folder))


@app.command()
def report(
    folder: Build,
    out: Annotated[Path | None, typer.Option(help="HTML file. [default: report.html in the build]")] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Show this sample, repeatable.")] = None,
    limit: Annotated[int, typer.Option(help="Samples shown where none is named.", min=1)] = 12,
) -> None:
    """Write one HTML page that shows which frames the variants took, and why."""
    path = out or folder / "report.html"
    shown = write_report(folder, path, sample_ids=sample or (), limit=limit)
    typer.echo(f"{path}: {shown} samples")


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
        Path | None, typer.Option(help="Also write the table: .csv or .parquet.", show_default=False)
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
        write_table(table, out)


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
