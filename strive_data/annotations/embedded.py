"""A parquet file with the videos or images in it (Hugging Face `datasets`) → files, and its rows with paths.

`datasets` stores a Video or Image column as {"bytes": …, "path": …}. A build reads videos from files, which
many processes share and which a later start finds again; so they are written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.common.files import IMAGE_SUFFIXES, replacing, write_bytes
from strive_data.errors import UsageError

MEDIA = "media"
ROWS_PER_SLICE = 32
# Offset and bytes that show a format, whatever the path in the table says.
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG", ".png"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (8, b"AVI ", ".avi"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
)


def write_embedded(table: Path, out: Path) -> tuple[Path, int, int]:
    """Write the files in `table` into `out`/media and its rows as JSON lines, with paths below `out`.

    Gives the lines' file, the number of rows and of different files. Files are called by the hash of their
    bytes; no name in the table becomes a path on the disk. Raises UsageError for a file that is no parquet
    file or holds no videos or images, and for a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: expected a new or an empty folder for the files of {table.name}")
    try:
        count = pl.scan_parquet(table).select(pl.len()).collect().item()
        (out / MEDIA).mkdir(parents=True)
        lines, names = out / f"{table.stem}.jsonl", set[str]()
        with replacing(lines) as temporary, temporary.open("w", encoding="utf-8") as file:
            for start in range(0, count, ROWS_PER_SLICE):
                for row in (
                    pl.scan_parquet(table).slice(start, ROWS_PER_SLICE).collect().iter_rows(named=True)
                ):
                    kept = {
                        name: _with_paths(value, out, names)
                        for name, value in row.items()
                        if value is not None
                    }
                    file.write(json.dumps(kept, ensure_ascii=False, default=str) + "\n")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UsageError(f"{table}: no parquet file that can be read ({error})") from error
    except OSError as error:
        raise UsageError(
            f"--out {out}: {error.strerror or error}; name a folder that can be written"
        ) from error
    if not names:
        raise UsageError(f"{table}: no videos or images in it; build it as it is, with its --data-root")
    return lines, count, len(names)


def _with_paths(value: Any, out: Path, names: set[str]) -> Any:
    """The value with the path of a file in place of its bytes."""
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes):
            return _write(value["bytes"], str(value.get("path") or ""), out, names)
        return {name: _with_paths(each, out, names) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_paths(each, out, names) for each in value]
    return _write(value, "", out, names) if isinstance(value, bytes) else value


def _write(content: bytes, path: str, out: Path, names: set[str]) -> str:
    found = next((suffix for at, magic, suffix in MAGIC if content[at : at + len(magic)] == magic), "")
    own = Path(path).suffix.lower()
    # A suffix of pictures makes an image of a file, so only bytes of a picture get one.
    suffix = found or (own if own[1:].isalnum() and own not in IMAGE_SUFFIXES else ".bin")
    name = f"{MEDIA}/{sha256(content).hexdigest()[:32]}{suffix}"
    if name not in names:
        write_bytes(out / name, content, durable=False)
        names.add(name)
    return name
