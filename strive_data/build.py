"""The order of the offline stages, and nothing else (DESIGN.md section 1).

annotation rows → questions by video → decoded candidates → scores → samples → shards and tables
A row or video that cannot be used becomes a failure row and costs no other sample.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from strive_data.annotations import Annotations, Reading, read_annotations
from strive_data.batching import embed_together
from strive_data.cache import KeptVideo, MissedVideo
from strive_data.config import BuildSettings
from strive_data.decode import read_candidates
from strive_data.engines.local import decode_videos
from strive_data.errors import SampleError, UsageError
from strive_data.provenance import run_record
from strive_data.sampling import make_sample
from strive_data.schema import Failure, Floats, Question, Sample, Stage
from strive_data.score import Scorer, make_scorer
from strive_data.scoring import Video, open_cache, require_embeddings, score_video
from strive_data.settings import fingerprint
from strive_data.shard_writer import Manifest, OpenShard, index_of, write_json
from strive_data.shards import INDEX_FILE, RUN_FILE
from strive_data.tables import FAILURES_FILE, failures_table, gather_parts, write_parts

PARTS_FOLDER = ".parts"

Row = tuple[int, Question]


class Observer(Protocol):
    """Told of each finished video, to show progress."""

    def start(self, videos: int, questions: int) -> None:
        """Before the first video."""

    def advance(self, questions: int, failures: int) -> None:
        """After each video: its questions, and how many of them failed."""


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
) -> BuildSummary:
    """Build shards and tables of all usable rows into `out`, `run.json` last.

    `workers` is the number of decoding processes, 0 for one a core; `recipe` as for `read_annotations`;
    `cache` is a folder where decoded and embedded videos are kept for later builds (cache.py).

    Raises UsageError for an annotation, data root, output or cache folder that cannot be used, where no row
    is usable, and where settings or cache need frame embeddings that the scorer does not give.
    """
    started = time.monotonic()
    _check_folders(data_root, out)
    rows = read_annotations(annotations, data_root, recipe=recipe)
    scorer = make_scorer(settings.score)
    require_embeddings(scorer, settings)
    read = open_cache(cache, scorer, settings).read if cache else read_candidates
    out.mkdir(parents=True, exist_ok=True)
    writer = ShardedWriter(out, settings)
    failures = list(rows.failures)
    videos = rows_by_video(rows.questions)
    observer.start(len(videos), len(rows.questions))
    jobs = ((video, data_root / video) for video in videos)
    kept, damaged = 0, list[Path]()
    decoded = decode_videos(jobs, settings.decode, workers=workers, read=read)
    for done in embed_together(decoded, scorer, batch_size=settings.score.batch_size):
        video = done.video
        results = list(samples_of(videos[done.name], video, scorer, settings, embeddings=done.embeddings))
        kept += isinstance(video, KeptVideo)
        if isinstance(video, MissedVideo) and video.damaged is not None:
            damaged.append(video.damaged)
        lost = [result for result in results if isinstance(result, Failure)]
        failures += lost
        for result in results:
            if isinstance(result, Sample):
                writer.write(result)
        observer.advance(len(results), len(lost))
    manifests = writer.finish()
    seconds = time.monotonic() - started
    summary = _finish(out, rows, settings, manifests, failures, videos=len(videos), seconds=seconds)
    return replace(summary, kept=kept, damaged=tuple(damaged))


def rows_by_video(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each video, videos in the order of their first row: each is decoded and embedded once."""
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row[1].video, []).append(row)
    return videos


def samples_of(
    rows: Sequence[Row],
    video: Video | SampleError,
    scorer: Scorer,
    settings: BuildSettings,
    *,
    embeddings: Floats | None = None,
) -> Iterator[Sample | Failure]:
    """One sample or failure for each question of one video; `embeddings` as for `score_video`."""
    if isinstance(video, SampleError):
        yield from (_failure(row, "decode", video) for row in rows)
        return
    try:
        questions = [question for _, question in rows]
        quality = settings.shard.quality
        stills, scored = score_video(video, questions, scorer, quality=quality, embeddings=embeddings)
    except SampleError as error:
        yield from (_failure(row, "score", error) for row in rows)
        return
    for row, result in zip(rows, scored, strict=True):
        if isinstance(result, SampleError):
            yield _failure(row, "score", result)
            continue
        try:
            yield make_sample(row[1], stills, result, settings)
        except SampleError as error:
            yield _failure(row, "sample", error)


class ShardedWriter:
    """Fills shard after shard, and writes the table rows of each beside it."""

    def __init__(self, out: Path, settings: BuildSettings) -> None:
        self._out, self._settings = out, settings
        self._parts = out / PARTS_FOLDER
        self._parts.mkdir()
        self._shard: OpenShard | None = None
        self._samples: list[Sample] = []
        self._manifests: list[Manifest] = []

    def write(self, sample: Sample) -> None:
        """Append one sample; a full shard is committed at once."""
        if self._shard is None:
            self._shard = OpenShard(self._out, len(self._manifests), fingerprint(self._settings))
        self._shard.add(sample)
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


def _failure(row: Row, stage: Stage, error: SampleError) -> Failure:
    number, question = row
    return Failure(
        sample_id=question.sample_id,
        row=number,
        video=question.video,
        stage=stage,
        kind=error.kind,
        message=error.message,
    )


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
    write_json(out / RUN_FILE, record)
    if not summary.samples:
        raise UsageError(
            f"none of {len(failures)} rows could be used: the reasons are in {out / FAILURES_FILE}"
        )
    return summary
