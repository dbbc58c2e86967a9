"""An engine without decoder and model, for builds of many shards in no time, and its annotation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np

from strive_data.build.progress import BuildCounts
from strive_data.config import BuildSettings, SamplerSettings, ShardSettings
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.engines.local import make_sample
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import FailedRow, Question, Sample, failed_row
from strive_data.score import FrameScores
from strive_data.shards.format import encode_frames
from tests.strive_data.made.samples import some_candidates

SETTINGS = BuildSettings(
    sampler=SamplerSettings(frames=4, variants=2), shard=ShardSettings(max_samples=3, max_bytes=1 << 20)
)


class Notes:
    """An observer that remembers the notes, and the counts: `before`, after each video in `done`, at the
    `end`."""

    def __init__(self) -> None:
        self.done: list[BuildCounts] = []

    def start(self, counts: BuildCounts, notes: Sequence[str]) -> None:
        self.before, self.counts, self.notes = deepcopy(counts), counts, notes

    def advance(self) -> None:
        self.done.append(deepcopy(self.counts))

    def finish(self) -> None:
        self.end = self.counts


class FakeEngine:
    """Scores by the question's length. Videos of `broken` and questions of `refused` fail."""

    def __init__(self, broken: Iterable[str] = (), refused: Iterable[str] = ()) -> None:
        self.broken, self.refused = set(broken), set(refused)
        self.videos: list[str] = []

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result a job."""
        for job in jobs:
            self.videos.append(job.name)
            results = tuple(self._result(number, question) for number, question in job.rows)
            yield VideoResult(job=job, results=results, frames=10)

    def _result(self, row: int, question: Question) -> Sample | FailedRow:
        if Path(question.video).stem in self.broken:
            return failed_row((row, question), "decode", SampleError(FailureKind.TIMEOUT, "too slow"))
        if question.sample_id in self.refused:
            return failed_row((row, question), "score", SampleError(FailureKind.SCORE_FAILED, "no score"))
        return made_sample(question)


@cache
def made_sample(question: Question) -> Sample:
    """A sample of ten frames, scored by the length of the question."""
    scores = np.sin(np.arange(10) * (1 + len(question.question))).astype(np.float32)
    scored = FrameScores(scores=scores, windows=1, scorer="fake")
    return make_sample(question, encode_frames(some_candidates(), 90), scored, SETTINGS)


def write_annotation(folder: Path, videos: str, *, name: str = "rows.jsonl") -> Path:
    """`videos` like "aabaccc": a row for each letter, of the video of that name; the files are empty."""
    folder.mkdir(exist_ok=True)
    for letter in set(videos):
        if not (folder / f"{letter}.mp4").exists():
            (folder / f"{letter}.mp4").touch()
    annotation = folder / name
    rows = [
        {"id": f"{letter}{place}", "video": f"{letter}.mp4", "question": "?" * (1 + place % 7), "answer": "x"}
        for place, letter in enumerate(videos)
    ]
    annotation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return annotation
