"""Break video files by seed and read them as a build does: no crash, hang or wrong frame without an error.

    python -m tools.fuzz --videos ../shared/data/videos --files 1000

Sources are the videos of `--videos`, where given, and the bar-coded corpus (tools/barcodes). Prints what is
wrong as it is met, then a table with a row for each way of breaking, and ends with 1 if anything is wrong.
"Changed unnoticed": the broken bits are valid too, so that no decoder can find the damage; the frames equal
what any player shows.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from strive_data.config import DecodeSettings
from strive_data.engines.decode_pool import decode_videos
from strive_data.errors import FailureKind, SampleError
from tools.barcodes import CORPUS, LONG, encode
from tools.fuzz.breaks import break_file, way_and_source
from tools.fuzz.examine import Examine, Findings

SETTINGS = DecodeSettings(
    candidates=12, max_pixels=96 * 96, multiple=8, timeout_seconds=60, memory_bytes=1 << 30
)
FATAL = (FailureKind.TIMEOUT, FailureKind.CRASH)
Outcome = Findings | SampleError


def fuzz(
    sources: list[Path], folder: Path, *, numbers: Iterable[int], seed: int, workers: int = 1
) -> Iterator[tuple[Path, Outcome]]:
    """Break and examine files one after the other; those that show nothing wrong are deleted again."""
    broken = (break_file(number, sources, folder, seed) for number in numbers)
    examine = Examine(sources=tuple(sources))
    for path, outcome in decode_videos(((path, path) for path in broken), SETTINGS, workers, read=examine):
        yield path, outcome
        if not is_wrong(outcome):
            path.unlink()


def is_wrong(outcome: Outcome) -> bool:
    """Whether the reader failed: a wrong frame without an error, or a process that hung or crashed."""
    if isinstance(outcome, SampleError):
        return outcome.kind in FATAL
    return outcome.silently_wrong


def label(outcome: Outcome) -> str:
    """The outcome of a file as a column of the table."""
    if isinstance(outcome, SampleError):
        return outcome.kind.value
    if outcome.silently_wrong:
        return "WRONG"
    if outcome.decode_errors:
        return "decoded, errors counted"
    return "decoded, changed unnoticed" if outcome.changed else "decoded"


def main(
    videos: Path | None = None, files: int = 100, seed: int = 0, workers: int = 1, out: Path | None = None
) -> None:
    """Break so many files, made of those of a folder too; files that show a fault stay in OUT.

    The exit code is 1 if anything is wrong.
    """
    folder = out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    sources = [*(sorted(videos.iterdir()) if videos else []), *corpus(folder)]
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = 0
    for path, outcome in fuzz(sources, folder, numbers=range(files), seed=seed, workers=workers):
        rows[way_and_source(path)[0]][label(outcome)] += 1
        if is_wrong(outcome):
            wrong += 1
            print(f"{path}: {outcome}", flush=True)
    print_table(rows)
    print(f"{files} files, {wrong} to look at" + (f" in {folder}" if wrong else ""))
    raise typer.Exit(int(wrong > 0))


def corpus(folder: Path) -> list[Path]:
    """The bar-coded clips, rendered below `folder`; the long one would only take time."""
    rendered = folder / "corpus"
    rendered.mkdir(exist_ok=True)
    return [encode(clip, rendered) for clip in CORPUS if clip is not LONG]


def print_table(rows: dict[str, Counter[str]]) -> None:
    """One row a way of breaking, one column an outcome."""
    labels = sorted({name for row in rows.values() for name in row})
    table = Table("broken by", *labels, box=None)
    for way, row in sorted(rows.items()):
        table.add_row(way, *(str(row[name] or "") for name in labels))
    table.add_row("all", *(str(sum(row[name] for row in rows.values())) for name in labels))
    Console(width=250).print(table)


if __name__ == "__main__":
    typer.run(main)
