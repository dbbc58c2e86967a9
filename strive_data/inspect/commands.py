"""The commands of `strive-data` that look at builds, which `strive_data.cli` registers.

Costly imports are inside the commands, after the arguments are checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from strive_data.common.console import (
    Assignments,
    Build,
    BuildAnywhere,
    TableOut,
    argument,
    echo,
    option,
    written,
)
from strive_data.common.files import TABLE_FORMATS
from strive_data.common.settings import choose, load
from strive_data.common.storage import place_of
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_data.shards.run_file import RUN_FILE, require_builds

TABLES = ("samples", "frames", "failures", "index")


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
            "apostrophe) or .parquet; default the screen.",
            suffixes=TABLE_FORMATS,
        ),
    ] = None,
) -> None:
    """Print the tables of a build: an overview, one sample, or the rows of a table."""
    if failures and table not in (None, "failures"):
        raise UsageError(f"--failures is --table failures; got --table {table} too: leave one out")
    choose(table or "samples", TABLES, "table")
    require_builds(folder)
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
    require_builds(folder)
    from strive_data.inspect.report import Selection, write_report

    selection = Selection(sample_ids=sample or (), where=where, limit=limit, seed=seed)
    path = out or folder / selection.file
    echo(f"{path}: {plural(write_report(folder, path, selection), 'sample')}")


def plot(
    folder: Build,
    sample: Annotated[str, typer.Argument(help="Id of the sample.", show_default=False)],
    out: Annotated[Path, written("PNG file to write.", suffixes=(".png",))],
) -> None:
    """Draw the time line of one sample, as the report shows it, into a PNG."""
    require_builds(folder)
    from strive_data.inspect.timeline import write_plot

    width, height = write_plot(folder, sample, out)
    echo(f"{out}: {width}×{height} pixels")


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
    from strive_data.config import SAMPLER_NAMES

    for each in sampler or ():
        choose(each.partition(":")[0], SAMPLER_NAMES, "sampler")
    if (folder / RUN_FILE).exists():
        require_builds(folder)
    from strive_data.inspect.cases import read_cases
    from strive_data.inspect.compare_samplers import as_text, compare
    from strive_data.inspect.tables import check_out, write_rows

    if out:
        check_out(out)
    cases = read_cases(folder)
    built, count = cases.built, plural(len(cases.cases), "question")
    chosen: dict[str, Any] = {"samplers": sampler, "frames": frames, "variants": variants, "noise": noise}
    given = {name: tuple(values) for name, values in chosen.items() if values}
    own = {"frames": (built.frames,), "variants": (built.variants,)} if built else {}
    more = {"drawn_offsets": drawn_offsets, "resamples": resamples, "seed": seed}
    table = compare(cases.cases, **(own | given | more), base=built)
    echo(f"{cases.source}: {count}; {cases.without} without known evidence left out")
    echo(as_text(table))
    if out:
        write_rows(table.lazy(), out)


def overlap(
    train: Annotated[Path, argument("Finished build to train on.", "TRAIN")],
    evaluation: Annotated[Path, argument("Finished build to evaluate on.", "EVAL")],
    by: Annotated[
        str,
        typer.Option(
            help="What frames are compared by: picture (coarse grey shapes, no model), stored (embeddings of "
            "shard.embeds), or a scorer that embeds: clip, demo."
        ),
    ] = "picture",
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
    from strive_data.config import BuildSettings, require_scorer

    options = {} if by in ("picture", "stored") else {"score.scorer": by}
    score = load(BuildSettings, config=config, options=options, assignments=set_ or ()).score
    require_scorer(score.scorer)
    require_builds(train, evaluation)
    from strive_data.inspect.overlap import as_overlap_text, embed_by, find_overlap, threshold_of
    from strive_data.inspect.tables import check_out, write_rows

    if out:
        check_out(out)
    least = threshold_of(by, threshold)
    table = find_overlap(train, evaluation, embed_by(by, score), threshold=least, least_hits=hits)
    echo(as_overlap_text(table))
    if out:
        write_rows(table.lazy(), out)
