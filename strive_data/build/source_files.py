"""Which files the videos of a build were read from, so that a build never holds two clips under one name.

`videos.json` has the size and the modification time of each file. It is no part of what the build holds:
a copy of the same videos has other times. So a file that differs from it is read, and its packets decide.
A folder of pictures goes by the sums over its pictures, the files of their times, and itself; if they differ,
the times of its candidates decide with its pictures.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from strive_data.annotations.read import Annotations
from strive_data.common.files import (
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    RATE_FILE,
    TIMES_FILE,
    read_regular_file,
    write_json,
)
from strive_data.common.text import plural, some
from strive_data.config import BuildSettings, DecodeSettings
from strive_data.engines.engine import VideoJob, VideoPath, VideoResult, jobs_of
from strive_data.errors import DamagedError, FailureKind, SampleError, UsageError
from strive_data.schema import FailedRow, Sample, TimedFolder, failed_row
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import MAX_JSON_BYTES, VIDEOS_FILE, Manifest, part_name
from strive_data.shards.output import Output

FileState = tuple[int, int]
"""Bytes and modification time in nanoseconds; of a folder of pictures, their sums."""
LISTED = 5


@dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """`now`: the state of each video's file, without those that the build has samples of and videos.json
    lacks: what these were read from is not known. `recorded`: what videos.json has. `ids` are those of the
    samples that the build holds, by video, of the videos that get more."""

    now: Mapping[str, FileState] = field(default_factory=dict)
    recorded: Mapping[str, FileState] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write videos.json where it would change."""
        files = {**self.recorded, **self.now}
        if files != self.recorded:
            write_json(folder / VIDEOS_FILE, {name: [*files[name]] for name in sorted(files)})

    def refresh(self, output: Output) -> None:
        """Note the new times of a finished build's files that were read and found to be the same videos."""
        if self.recorded:
            self.write(output.folder)
            output.publish()

    def checked(self, video: VideoResult) -> list[Sample | FailedRow]:
        """The results of a video; failed rows where the build has samples of other footage by its name."""
        results = list(video.results)
        for place, (result, row) in enumerate(zip(video.results, video.job.rows, strict=True)):
            name, found = row[1].video, result.meta.info.video_id if isinstance(result, Sample) else None
            if found and self.ids.get(name, found) != found:
                what = (
                    f"{name}: not the video that the build has samples of by this name; restore the file and "
                    "run with --retry-failed, or build into a new --out folder"
                )
                results[place] = failed_row(row, "decode", SampleError(FailureKind.CHANGED, what))
        return results


def source_files(
    rows: Annotations,
    state: BuildState,
    jobs: Collection[VideoJob],
    output: Output,
    root: Path | str,
    settings: BuildSettings,
    *,
    workers: int,
) -> SourceFiles:
    """The files of all videos. Raises UsageError where one that the build has samples of is another by now.

    Only files whose size or time differs are read. Of videos behind a URL nothing is known before they are
    decoded.
    """
    done = {question.video for _, question in rows.questions if question.sample_id in state.done}
    now = _states({question.video for _, question in rows.questions}, root)
    recorded = _read(output.folder / VIDEOS_FILE)
    changed = {video for video in done & now.keys() & recorded.keys() if now[video] != recorded[video]}
    grown = done & {question.video for job in jobs for _, question in job.rows}
    ids = dict[str, str]()
    if changed or grown:
        output.fetch_parts(state.manifests)
        ids = _stored_ids(output.folder, state.manifests)
    if changed:
        asked = jobs_of([row for row in rows.questions if row[1].video in changed], root)
        times = _stored_times(output.folder, state.manifests, changed)
        if replaced := sorted({*_replaced(asked, ids, times, settings.decode, workers)}):
            raise UsageError(_refusal(replaced, recorded, now))
    now = {video: state for video, state in now.items() if video in recorded or video not in done}
    return SourceFiles(now=now, recorded=recorded, ids={video: ids[video] for video in grown if video in ids})


def _states(videos: Iterable[str], root: Path | str) -> dict[str, FileState]:
    found = dict[str, FileState]()
    for video in videos if isinstance(root, Path) else ():
        with suppress(OSError):  # a finished video may disappear
            status = Path(root, video).stat()
            found[video] = status.st_size, status.st_mtime_ns
            if stat.S_ISDIR(status.st_mode):
                # A folder's own time changes with its names, not when a file is written over.
                with os.scandir(Path(root, video)) as entries:
                    endings = (*PICTURE_SUFFIXES, TIMES_FILE, RATE_FILE)
                    files = [each.stat() for each in entries if each.name.lower().endswith(endings)]
                times = sum(each.st_mtime_ns for each in files)
                found[video] = sum(each.st_size for each in files), status.st_mtime_ns + times
    return found


def _read(path: Path) -> dict[str, FileState]:
    if not path.exists():
        return {}
    try:
        body = json.loads(read_regular_file(path, max_bytes=MAX_JSON_BYTES))
        return {video: (int(size), int(time)) for video, (size, time) in body.items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(
            f"{path} is damaged ({error}): remove it; replaced videos of this build are not noticed then"
        ) from error


def _stored_ids(folder: Path, manifests: Iterable[Manifest]) -> dict[str, str]:
    """The video id of each video's samples, the first where there are several."""
    files = [folder / part_name(manifest.shard, "samples") for manifest in manifests]
    rows = (
        pl.scan_parquet(files).select("video", "video_id").unique("video", keep="first", maintain_order=True)
    )
    return dict(rows.collect().rows())


def _stored_times(
    folder: Path, manifests: Iterable[Manifest], videos: Collection[str]
) -> dict[str, list[float]]:
    """The times of the candidates of each of these videos, those of its first sample."""
    samples, frames = (
        pl.scan_parquet([folder / part_name(manifest.shard, table) for manifest in manifests])
        for table in ("samples", "frames")
    )
    first = samples.filter(pl.col("video").is_in([*videos])).unique(
        "video", keep="first", maintain_order=True
    )
    found = frames.join(first.select("video", "sample_id"), on="sample_id").sort("video", "candidate")
    return dict(found.group_by("video", maintain_order=True).agg("time").collect().rows())


def identity_of(place: VideoPath, settings: DecodeSettings) -> tuple[str, list[float] | None]:
    """What a sample of this video would have as its `video_id`, and of a folder of pictures the times of its
    candidates, which are not hashed. Raises SampleError as the reader does."""
    from strive_data.decode import read_candidates
    from strive_data.decode.packet_index import read_index

    video = Path(place) if isinstance(place, str) else place
    is_folder = isinstance(video, TimedFolder) or video.is_dir()
    if is_folder or (isinstance(video, Path) and video.suffix.lower() in IMAGE_SUFFIXES):
        found = read_candidates(video, settings)
        return found.info.video_id, found.times.tolist() if is_folder else None
    return read_index(Path(str(video)), settings).video_id, None


def _replaced(
    jobs: Iterable[VideoJob],
    ids: Mapping[str, str],
    times: Mapping[str, list[float]],
    settings: DecodeSettings,
    workers: int,
) -> Iterator[str]:
    from strive_data.engines.decode_pool import decode_videos

    for job, found in decode_videos(((job, job.path) for job in jobs), settings, workers, read=identity_of):
        video = job.rows[0][1].video
        if (
            isinstance(found, SampleError)
            or found[0] != ids.get(video)
            or found[1] not in (None, times.get(video))
        ):
            yield video


def _refusal(replaced: list[str], recorded: Mapping[str, FileState], now: Mapping[str, FileState]) -> str:
    sizes = ((video, recorded[video][0], now[video][0]) for video in replaced)
    shown = [
        f"{video} ({f'{before:,} bytes, now {after:,}' if before != after else 'of the same size'})"
        for video, before, after in sizes
    ]
    have = "is" if len(replaced) == 1 else "are"
    return (
        f"{plural(len(replaced), 'video')} {have} not the same as when the build took frames from them: "
        f"{some(shown, LISTED)}. Restore the files, or name a new --out folder: what a build holds is not "
        "replaced"
    )
