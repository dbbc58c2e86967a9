"""The order of the offline stages, and nothing else (DESIGN.md section 1).

annotation rows → questions by video → decoded candidates → scores → samples → shards and tables
A row or video that cannot be used becomes a failure row and costs no other sample.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from strive_data.annotations import Annotations, Reading, read_annotations
from strive_data.config import BuildSettings
from strive_data.engines.engine import Row, VideoJob, VideoResult
from strive_data.engines.registry import make_engine
from strive_data.errors import UsageError
from strive_data.observer import Observer, VideoDone, Workload
from strive_data.provenance import run_record
from strive_data.run_file import write_run
from strive_data.schema import Failure, Sample
from strive_data.settings import fingerprint
from strive_data.shard_writer import Manifest, OpenShard, index_of
from strive_data.shards import INDEX_FILE, RUN_FILE
from strive_data.stopwatch import Stopwatch
from strive_data.tables import FAILURES_FILE, failures_table, gather_parts, write_parts

PARTS_FOLDER = ".parts"


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build made: counts, the failures in the order of the annotation, and how each file was read.

    `kept` videos came from the cache; `damaged` entries of it were found and made again.
    """

    samples: int
    videos: int
    shards: int
    failures: tuple[Failure, ...]
    seconds: float
    readings: dict[str, Reading] = field(default_factory=dict)
    kept: int = 0
    damaged: tuple[Path, ...] = ()


def build(
    annotations: Sequence[Path],
    *,
    data_root: Path,
    out: Path,
    settings: BuildSettings,
    observer: Observer,
    workers: int = 0,
    recipe: str | None = None,
    cache: Path | None = None,
    engine: str = "local",
) -> BuildSummary:
    """Build shards and tables of all usable rows into `out`, `run.json` last.

    `workers` is the number of decoding processes, 0 for one a core; `recipe` as for `read_annotations`;
    `cache` is a folder where decoded and embedded videos are kept for later builds (cache.py); `engine` where
    videos are decoded and scored (engines/). None of them changes a byte.

    Raises UsageError for an annotation, data root, output or cache folder that cannot be used, where no row
    is usable, and where settings or cache need frame embeddings that the scorer does not give.
    """
    started = time.monotonic()
    _check_folders(data_root, out)
    rows = read_annotations(annotations, data_root, recipe=recipe)
    chosen = make_engine(engine, settings, workers=workers, cache=cache)
    out.mkdir(parents=True, exist_ok=True)
    writer = ShardedWriter(out, settings)
    failures = list(rows.failures)
    jobs = jobs_of(rows.questions, data_root)
    questions = len(rows.questions)
    observer.start(Workload(videos=len(jobs), questions=questions, failures=len(failures)))
    kept, damaged, watch = 0, list[Path](), Stopwatch()
    for video in chosen.run(jobs):
        before, shards = writer.written_bytes, writer.shards
        with watch.stage("write"):
            for result in video.results:
                if isinstance(result, Sample):
                    writer.write(result)
                else:
                    failures.append(result)
        kept += video.kept
        if video.damaged is not None:
            damaged.append(video.damaged)
        written = writer.written_bytes - before
        observer.advance(_done(video, written_bytes=written, shards=writer.shards - shards))
        watch.add(video.seconds)
    manifests = writer.finish()
    seconds = time.monotonic() - started
    summary = _finish(out, rows, settings, manifests, failures, videos=len(jobs), seconds=seconds)
    return replace(summary, kept=kept, damaged=tuple(damaged))


def jobs_of(rows: Sequence[Row], data_root: Path) -> list[VideoJob]:
    """One job for each video, in the order of their first row: each is decoded and embedded once."""
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row[1].video, []).append(row)
    return [VideoJob(name=name, path=data_root / name, rows=tuple(of)) for name, of in videos.items()]


def _done(video: VideoResult, *, written_bytes: int, shards: int) -> VideoDone:
    return VideoDone(
        video=video.job.name,
        questions=len(video.results),
        failures=Counter(result.kind for result in video.results if isinstance(result, Failure)),
        frames=video.frames,
        written_bytes=written_bytes,
        shards=shards,
        kept=video.kept,
        seconds=video.seconds,
    )


class ShardedWriter:
    """Fills shard after shard, and writes the table rows of each beside it."""

    def __init__(self, out: Path, settings: BuildSettings) -> None:
        self._out, self._settings = out, settings
        self._parts = out / PARTS_FOLDER
        self._parts.mkdir()
        self._shard: OpenShard | None = None
        self._samples: list[Sample] = []
        self._manifests: list[Manifest] = []
        self.written_bytes = 0

    @property
    def shards(self) -> int:
        """Committed shards."""
        return len(self._manifests)

    def write(self, sample: Sample) -> None:
        """Append one sample; a full shard is committed at once."""
        if self._shard is None:
            self._shard = OpenShard(self._out, len(self._manifests), fingerprint(self._settings))
        before = self._shard.size_bytes
        self._shard.add(sample)
        self.written_bytes += self._shard.size_bytes - before
        self._samples.append(sample)
        if self._shard.is_full(self._settings.shard):
            self._commit(self._shard)

    def finish(self) -> list[Manifest]:
        """Commit the last shard and gather the tables."""
        if self._shard is not None:
            self._commit(self._shard)
        gather_parts(self._parts, [manifest.shard for manifest in self._manifests], self._out)
        shutil.rmtree(self._parts)
        return self._manifests

    def _commit(self, shard: OpenShard) -> None:
        write_parts(self._parts, shard.name, self._samples)
        self._manifests.append(shard.commit())
        self._shard, self._samples = None, []


def _check_folders(data_root: Path, out: Path) -> None:
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root}: no such folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        done = (out / RUN_FILE).is_file()
        what = "already holds a finished build" if done else "is not an empty folder"
        raise UsageError(f"--out {out} {what}: name a new folder, or remove this one first")


def _finish(
    out: Path,
    rows: Annotations,
    settings: BuildSettings,
    manifests: Sequence[Manifest],
    failures: Sequence[Failure],
    *,
    videos: int,
    seconds: float,
) -> BuildSummary:
    """Write what remains, `run.json` last: its presence means that the build is complete."""
    failures_table(failures).write_parquet(out / FAILURES_FILE)
    index_of(manifests).write_parquet(out / INDEX_FILE)
    summary = BuildSummary(
        samples=sum(len(manifest.samples) for manifest in manifests),
        videos=videos,
        shards=len(manifests),
        failures=tuple(failures),
        seconds=seconds,
        readings=rows.readings,
    )
    counts = {
        "samples": summary.samples,
        "videos": videos,
        "shards": summary.shards,
        "failures": len(failures),
    }
    recipes = {path: reading.recipe for path, reading in rows.readings.items()}
    record = run_record(settings, rows.input_sha256, counts, seconds, recipes=recipes)
    write_run(out, record)
    if not summary.samples:
        raise UsageError(
            f"none of {len(failures)} rows could be used: the reasons are in {out / FAILURES_FILE}"
        )
    return summary
