"""Rows → parquet files that Hugging Face `datasets` loads with typed columns, images included.

The folder has the layout of a data set on the hub: `data/train-00000-of-00003.parquet`, and `README.md`,
whose head names the files and the type of each column (`dataset_info.features`). An image is a struct of its
bytes and no path: `datasets` gives it as a picture, other readers of parquet as the JPEG of the shard.
Files are cut by size, so that memory does not grow with the build.

Source: https://huggingface.co/docs/datasets/repository_structure, /about_dataset_features
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.schema import Table

PART_BYTES = 128 << 20
"""Bytes of images after which a file ends."""
ROWS_A_GROUP = 64

IMAGE = pl.Struct({"bytes": pl.Binary, "path": pl.String})
IMAGES = pl.List(IMAGE)
VALUES = {pl.String: "string", pl.Float64: "float64", pl.Float32: "float32", pl.Int32: "int32"}

Row = Mapping[str, Any]


def images_of(jpegs: Iterable[bytes]) -> list[dict[str, bytes | None]]:
    """The cell of a column of type IMAGES."""
    return [{"bytes": jpeg, "path": None} for jpeg in jpegs]


def write_parts(folder: Path, rows: Iterable[tuple[Row, int]], columns: Table) -> None:
    """Write (row, bytes of its images) as parquet files of one split, and the card of the folder."""
    parts, held, size_bytes = list[Path](), list[Row](), 0
    (folder / "data").mkdir()

    def write() -> None:
        path = folder / "data" / f"part-{len(parts):05d}"
        table = pl.DataFrame(held, schema=columns)
        table.write_parquet(path, row_group_size=ROWS_A_GROUP, compression="uncompressed")
        parts.append(path)
        held.clear()

    for row, row_bytes in rows:
        held.append(row)
        size_bytes += row_bytes
        if size_bytes >= PART_BYTES:
            write()
            size_bytes = 0
    if held or not parts:
        write()
    for number, path in enumerate(parts):
        path.rename(path.with_name(f"train-{number:05d}-of-{len(parts):05d}.parquet"))


def card_head(columns: Table) -> str:
    """The head of README.md by which `datasets` finds files and types; JSON is YAML."""
    body = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
        "dataset_info": {"features": [_feature(name, kind) for name, kind in columns.items()]},
    }
    return f"---\n{json.dumps(body, indent=1)}\n---\n"


def _feature(name: str, kind: Any) -> dict[str, Any]:
    """A column as the head of a card describes it."""
    return {"name": name, **_typed(kind)}


def _typed(kind: Any) -> dict[str, Any]:
    if kind == IMAGE:
        return {"dtype": "image"}
    if isinstance(kind, pl.List):
        inner = _typed(kind.inner)
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    if isinstance(kind, pl.Struct):
        return {"struct": [_feature(member.name, member.dtype) for member in kind.fields]}
    return {"dtype": VALUES[kind]}
