"""The command `export` of `strive-data`, which `strive_data.cli` registers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from strive_data.common.console import echo, local_folder, local_path, option, written
from strive_data.common.options import BuildAnywhere
from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.shards.run_file import require_builds


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
    from strive_data.build.progress import ShardProgress
    from strive_data.export.layouts import export_build

    with ShardProgress("exported") as progress:
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
