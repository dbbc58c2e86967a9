"""The start of a table: of the videos, images and folders of frames below a folder, for its owner to fill in
with questions and answers; or of a parquet file with videos or images in it (Hugging Face `datasets`), whose
files are written.

`datasets` stores a Video or Image column as {"bytes": …, "path": …}. A build reads videos from files, which
many processes share and which a later start finds again; so they are written once.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

from strive_data.common.files import (
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    RATE_FILE,
    TIMES_FILE,
    VIDEO_SUFFIXES,
    replacing,
    require_suffix,
    write_bytes,
)
from strive_data.common.text import plural, some
from strive_data.errors import UsageError

# Tells the owner of the table how long a video is; no build reads it.
DURATION = "duration_seconds"
COLUMNS = ("id", "video", "question", "answer", "options", DURATION)
VIDEO, IMAGE, FRAMES = KINDS = ("video", "image", "frame folder")
# The frames of a video are called alike but for their numbers.
NUMBER = re.compile(r"\d+")
NOT_IN_IDS = re.compile(r"[^\w-]+")
MEDIA = "media"
PARQUET = b"PAR1"
SHOWN = 5
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
        return said, f"strive-data build {quote(str(lines))} --data-root {quote(str(out))} --out BUILD"
    media, left_out = write_new_table(source, out)
    counts = Counter(kind for _, kind in media)
    found = ", ".join(plural(counts[kind], kind) for kind in KINDS if counts[kind])
    rate = (
        f"; {FRAMES}s (numbered pictures, each a video) need fps, frames a second" if counts[FRAMES] else ""
    )
    said = (
        f"{out}: {found}; fill in question and answer, a row with its own id for each question "
        f"(options: red | blue){rate}; then run"
    )
    if left_out:
        said = f"{out}: left out, as no build reads them: {some(left_out, SHOWN)}\n{said}"
    return said, f"strive-data build {quote(str(out))} --data-root {quote(str(source))} --out BUILD"


def write_new_table(folder: Path, out: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Write a CSV with a row for each of `find_media`, question and answer empty; what that gives.

    Paths are relative to `folder`, so that the filled-in table builds with `--data-root folder`. Raises
    UsageError where there is none of them, and for a table that exists.
    """
    if out.exists():
        raise UsageError(f"--out {out}: exists already, and may hold your answers: name another file")
    require_suffix(out, (".csv",))
    media, left_out = find_media(folder)
    if not media:
        known = ", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        others = f" other than {', '.join(left_out[:SHOWN])}" if left_out else ""
        raise UsageError(f"{folder}: no video, image or {FRAMES} below it{others}; expected files {known}")
    timed = ("fps",) * any(kind == FRAMES for _, kind in media)
    try:
        with out.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow((*COLUMNS, *timed))
            for name, (path, kind) in zip(_ids(path for path, _ in media), media, strict=True):
                seconds = _duration(folder / path) if kind == VIDEO else ""
                rows.writerow((name, path, "", "", "", seconds, *("" for _ in timed)))
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; name a file that can be written") from error
    return media, left_out


def find_media(folder: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Relative path and kind (KINDS) of all below a folder that a row can name, and what a build would
    refuse, each with the reason; hidden files are left out.

    A folder of numbered pictures is one video, but for `folder` itself; other pictures are images.
    """
    found, left_out, root = [], [], Path(os.path.realpath(folder))
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(above).relative_to(folder)
        left_out += [
            f"{(here / name).as_posix()} (a link to a folder)"
            for name in folders
            if Path(above, name).is_symlink()
        ]
        frames = here.parts and _are_frames(names)
        if frames:
            found.append((here.as_posix(), FRAMES))
        for name in sorted(name for name in names if not name.startswith(".")):
            ending = Path(name).suffix.lower()
            kind = VIDEO if ending in VIDEO_SUFFIXES else IMAGE if ending in IMAGE_SUFFIXES else ""
            if kind == VIDEO or (kind and not frames):
                path = (here / name).as_posix()
                if problem := _refused(Path(above, name), root):
                    left_out.append(f"{path} ({problem})")
                else:
                    found.append((path, kind))
    return found, left_out


def _refused(file: Path, root: Path) -> str:
    """Why no build below `root` reads a file, "" if it may."""
    real = Path(os.path.realpath(file))
    if not real.is_relative_to(root):
        return f"a link to {real}, which leaves the folder"
    if not real.is_file():
        return "a broken link" if file.is_symlink() else "no regular file"
    return "" if real.stat().st_size else "0 bytes"


def _are_frames(names: Sequence[str]) -> bool:
    """Whether the pictures of a folder are the frames of a video: the folder has their times, or their names
    differ in their numbers alone."""
    pictures = [Path(name) for name in names if Path(name).suffix.lower() in PICTURE_SUFFIXES]
    alike = len({NUMBER.subn("", path.stem) for path in pictures}) == 1 and NUMBER.search(pictures[0].stem)
    return bool(pictures) and bool({RATE_FILE, TIMES_FILE} & set(names) or (alike and len(pictures) > 1))


def _ids(paths: Iterable[str]) -> Iterator[str]:
    """An id for each path, "clips-a-1". No two are equal: the number counts those that are alike."""
    counts = Counter[str]()
    for path in paths:
        slug = NOT_IN_IDS.sub("-", path.removesuffix(Path(path).suffix)).strip("-") or VIDEO
        counts[slug] += 1
        yield f"{slug}-{counts[slug]}"


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
    with table.open("rb") as file:
        magic = file.read(len(PARQUET))
    if magic != PARQUET:
        media = table.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        command = f"strive-data build {quote(str(table))} --data-root VIDEOS --out BUILD"
        so = f"as {table.parent}" if media else f"a table is built as it is: {command}"
        raise UsageError(f"{table}: expected a folder of videos, or a parquet file that holds videos; {so}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: expected a new or an empty folder for the files of {table.name}")
    import polars as pl  # Here: a table of a folder needs none.

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
