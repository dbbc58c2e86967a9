"""Arguments and options of the `strive-data` commands, as annotated types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from strive_data.common.console import (
    existing,
    folder_anywhere,
    lasting_place,
    local_folder,
    local_folder_or_file,
    option,
    written,
)


def argument(text: str, metavar: str = "FOLDER", parser: Callable[[str], Any] = local_folder) -> Any:
    """An argument, as it stands a finished build on this machine."""
    return typer.Argument(help=text, show_default=False, parser=parser, metavar=metavar)


TABLE_FORMATS = (".csv", ".parquet")
TABLE_SOURCE = "Folder of videos, images or folders of frames; or a parquet file with videos or images in it."
TableSource = Annotated[Path, argument(TABLE_SOURCE, "FOLDER|FILE", local_folder_or_file)]
Build = Annotated[Path, argument("Folder of a finished build.")]
BuildAnywhere = Annotated[str, argument("Folder or URL of a finished build.", parser=folder_anywhere)]
ROWS = "Annotation files: JSON, JSON lines, CSV, TSV or parquet; paths or URLs."
Rows = Annotated[list[str], argument(ROWS, "ANNOTATIONS...", existing("annotation file"))]
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
ColumnNames = Annotated[
    str | None,
    option(
        text="Columns of your own table, such as video=video_path,question=prompt; default: common names are "
        "found.",
        metavar="FIELD=COLUMN,...",
    ),
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
TableOut = Annotated[
    Path | None, written("Also write the table: .csv or .parquet; default none.", suffixes=TABLE_FORMATS)
]
COMPARED_BY = ("picture", "stored")
ComparedBy = Annotated[
    str,
    typer.Option(
        help="What frames are compared by: picture (coarse grey shapes, no model), stored (embeddings of "
        "shard.embeds), or a scorer that embeds: clip, demo."
    ),
]
