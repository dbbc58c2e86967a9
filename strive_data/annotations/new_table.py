"""The start of a table: of the videos below a folder, for its owner to fill in with questions and answers; or
of a parquet file with the videos or images in it (Hugging Face `datasets`), whose files are written.

`datasets` stores a Video or Image column as {"bytes": …, "path": …}. A build reads videos from files, which
many processes share and which a later start finds again; so they are written once.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.common.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, replacing, write_bytes
from strive_data.common.text import plural
from strive_data.errors import UsageError

COLUMNS = ("video", "question", "answer", "options", "duration_seconds")
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


def start_table(source: Path, out: Path) -> tuple[str, str]:
    """`write_new_table` of a folder, or `write_embedded` of a parquet file; two lines that say what
    to do next."""
    if source.is_file():
        lines, rows, files = write_embedded(source, out)
        said = f"{lines}: {plural(rows, 'row')}, {plural(files, 'file')} in {out / MEDIA}; now run"
        return said, f"strive-data build {lines} --data-root {out} --out BUILD"
    videos = plural(write_new_table(source, out), "video")
    said = f"{out}: {videos}; fill in question and answer, a row a question (options: red | blue), then run"
    return said, f"strive-data build {out} --data-root {source} --out BUILD"


def write_new_table(folder: Path, out: Path) -> int:
    """Write a CSV with one row a video below `folder`, question and answer empty; the number of videos.

    Paths are relative to `folder`, so that the filled-in table builds with `--data-root folder`. Raises
    UsageError where the folder has no video, and for a table that exists.
    """
    if out.exists():
        raise UsageError(f"--out {out}: exists already; name another file, or remove it")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out {out}: expected a name that ends in .csv")
    videos = find_video_files(folder)
    if not videos:
        raise UsageError(f"{folder}: no video below it; expected files {', '.join(sorted(VIDEO_SUFFIXES))}")
    try:
        with out.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows((video, "", "", "", _duration(folder / video)) for video in videos)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; name a file that can be written") from error
    return len(videos)


def find_video_files(folder: Path) -> list[str]:
    """Paths of the videos below a folder, relative to it, by their endings; hidden files are left out."""
    found = []
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(above, name).relative_to(folder).as_posix()
            for name in sorted(names)
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
        ]
    return found


def _duration(path: Path) -> str:
    """Seconds as the file's header gives them; "" where it does not."""
    import av
    import av.error

    try:
        with av.open(str(path)) as container:
            return f"{container.duration / 1e6:.1f}" if container.duration else ""
    except (av.error.FFmpegError, OSError):
        return ""


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
