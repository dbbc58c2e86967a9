"""A table of the videos below a folder, for its owner to fill in with questions and answers."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from strive_data.annotations.embedded import MEDIA, write_embedded
from strive_data.common.files import VIDEO_SUFFIXES
from strive_data.common.text import plural
from strive_data.errors import UsageError

COLUMNS = ("video", "question", "answer", "options", "duration_seconds")


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
