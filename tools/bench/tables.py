"""What it costs to read an annotation, beside `json.loads` of its lines and nothing else.

    python -m tools.bench.tables --rows 200000 1000000

Rows are generated: multiple choice with four options, ten questions a video. `plain` has a user's own columns
and answers that are a letter or the text of an option; `video-r1` is that data set's layout. With `--rows-of
FILE`, a JSON list in that layout, its rows are repeated instead: real texts hold colons, which generated ones
do not. Each way runs in a process of its own: `json` parses each line and drops it; `kept` keeps the parsed
lines, as `json.load` keeps a JSON list; `read` is the package's reader, with every question kept, as a build
needs them; `plan` is a build up to its first video: reading, one job a video, and the totals of its progress.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LAYOUTS = ("plain", "video-r1")
WAYS = ("json", "kept", "read", "plan")
QUESTIONS_PER_VIDEO = 10
MOST_VIDEOS = 20_000
STARTS = ("quickly", "slowly", "never", "perhaps")
TEXT = (
    "a red car turns left while the man beside it opens his umbrella and walks across the wet street then "
    "picks up the small wooden box from table before woman starts to cut three onions with long knife"
)
WORDS = TEXT.split(" ")
HEAD = ("layout", "rows", "MB", "way", "CPU s", "× json", "peak MiB", "bytes a row")
LINE = "{:<10} {:>9} {:>6}  {:<5} {:>7} {:>7} {:>9} {:>12}"


def main() -> None:
    arguments = _arguments()
    if arguments.way:
        print(json.dumps(_measured(arguments.way, arguments.annotation, arguments.work)))
        return
    print(LINE.format(*HEAD))
    for layout in [arguments.rows_of] if arguments.rows_of else arguments.layouts:
        for rows in arguments.rows:
            _print_ways(layout, rows, arguments)


def _print_ways(layout: str, rows: int, arguments: argparse.Namespace) -> None:
    path = write_annotation(arguments.work, layout, rows)
    size, base = path.stat().st_size / 1e6, 0.0
    for way in arguments.ways:
        costs = [_in_a_process(way, path, arguments.work) for _ in range(arguments.rounds)]
        seconds, peak, idle = min(costs)
        base = base or seconds
        held = (
            f"{seconds:.2f}",
            f"{seconds / base:.2f}",
            f"{peak / 2**20:.0f}",
            f"{(peak - idle) / rows:.0f}",
        )
        print(LINE.format(Path(layout).stem, rows, f"{size:.0f}", way, *held), flush=True)


def write_annotation(work: Path, layout: str, rows: int) -> Path:
    """JSON lines of that layout, the same ones every time, with their (one-byte) videos beside them."""
    if layout not in LAYOUTS:
        return _repeated(Path(layout), work, rows)
    (work / "videos").mkdir(parents=True, exist_ok=True)
    for number in range(min(-(-rows // QUESTIONS_PER_VIDEO), MOST_VIDEOS)):
        video = work / _video(number)
        if not video.exists():
            video.write_bytes(b"v")
    path = work / f"{layout}-{rows}.jsonl"
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in _rows(layout, rows))
    return path


def _repeated(source: Path, work: Path, rows: int) -> Path:
    """That many rows of the file, each with an id of its own."""
    given = json.loads(source.read_bytes())
    for row in given:
        video = work / row["path"]
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes(b"v")
    path = work / f"{source.stem}-{rows}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in zip(range(rows), itertools.cycle(given), strict=False):
            file.write(json.dumps(row | {"problem_id": number}, ensure_ascii=False) + "\n")
    return path


def _rows(layout: str, rows: int) -> Iterator[dict[str, object]]:
    draw = random.Random(0)
    for number in range(rows):
        texts = [" ".join([start, *draw.sample(WORDS, draw.randint(1, 5))]) for start in STARTS]
        question = "What happens right after " + " ".join(draw.choices(WORDS, k=draw.randint(8, 20))) + "?"
        right, video = draw.randrange(4), _video(number // QUESTIONS_PER_VIDEO % MOST_VIDEOS)
        letter = "ABCD"[right]
        if layout == "plain":
            answer = letter if number % 2 else texts[right]
            yield {
                "id": f"q{number}",
                "video": video,
                "question": question,
                "options": texts,
                "answer": answer,
            }
        else:
            yield {
                "problem_id": number,
                "problem": question,
                "data_type": "video",
                "problem_type": "multiple choice",
                "options": [f"{mark}. {text}" for mark, text in zip("ABCD", texts, strict=True)],
                "solution": f"<answer>{letter}</answer>",
                "path": video,
                "data_source": "generated",
            }


def _video(number: int) -> str:
    return f"videos/{number:06d}.mp4"


def _in_a_process(way: str, path: Path, work: Path) -> tuple[float, int, int]:
    command = [
        sys.executable,
        "-m",
        "tools.bench.tables",
        "--way",
        way,
        "--annotation",
        str(path),
        "--work",
        str(work),
    ]
    seconds, peak, idle = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return seconds, peak, idle


def _measured(way: str, path: Path, root: Path) -> tuple[float, int, int]:
    """CPU seconds, peak resident bytes, and those before the first row was read."""
    # Imported in every way, so that their peaks differ by what they hold alone.
    from strive_data.annotations.read import read_inputs
    from strive_data.build.pipeline import counts_before, plan_pending_jobs
    from strive_data.shards.build_state import BuildState

    idle, started = _peak_bytes(), time.process_time()
    if way == "json":
        with path.open("rb") as file:
            for line in file:
                json.loads(line)
    elif way == "kept":
        with path.open("rb") as file:
            _ = [json.loads(line) for line in file]
    else:
        rows = read_inputs([path], root)
        if way == "plan":
            pending = plan_pending_jobs(rows, BuildState(), root)
            counts_before(rows, BuildState(), pending)
        if rows.failures:
            raise RuntimeError(f"{len(rows.failures)} rows failed, the first: {rows.failures[0].message}")
    return time.process_time() - started, _peak_bytes(), idle


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("bench/tables"), help="scratch folder, kept")
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--rows-of", metavar="FILE")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="the first one is the base")
    parser.add_argument("--rounds", type=int, default=1, help="the best round counts")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--annotation", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
