"""The questions of a benchmark, cut into batches. Pure.

Batches follow from the questions and their size alone: not from how many processes share them, nor from where
an evaluation was stopped. So each answer is made beside the same others, and its bits are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strive_data.engines.engine import VideoJob
from strive_data.schema import Question

Row = tuple[int, Question]
Key = tuple[str, str]
"""(sample id, frame sampler) of an answer."""


@dataclass(frozen=True, kw_only=True)
class VideoBatch:
    """Whole videos and their questions in batches: what one process takes, so that a video is read once."""

    jobs: tuple[VideoJob, ...]
    batches: tuple[tuple[Row, ...], ...]


def video_batches_of(jobs: Sequence[VideoJob], size: int) -> list[VideoBatch]:
    """Videos in their order, as many together as have `size` questions; one with more has several batches."""
    video_batches: list[VideoBatch] = []
    held: list[VideoJob] = []
    for job in jobs:
        held.append(job)
        if sum(len(each.rows) for each in held) >= size:
            video_batches.append(_video_batch(held, size))
            held = []
    return [*video_batches, _video_batch(held, size)] if held else video_batches


def share(video_batches: Sequence[VideoBatch], rank: int, ranks: int) -> list[VideoBatch]:
    """The video batches of one of several processes; each belongs to exactly one process."""
    return list(video_batches[rank::ranks])


def order_of(video_batches: Sequence[VideoBatch], samplers: Sequence[str]) -> dict[Key, int]:
    """Place of each answer in predictions.jsonl: batch by batch, within it sampler by sampler."""
    batches = [batch for video_batch in video_batches for batch in video_batch.batches]
    keys = [(q.sample_id, sampler) for batch in batches for sampler in samplers for _, q in batch]
    return {key: place for place, key in enumerate(keys)}


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What is left: `batches`, each with the samplers that it still needs answers of, and the jobs of their
    videos, whole: a video's scores may depend on which of its questions are scored together."""

    jobs: tuple[VideoJob, ...]
    batches: tuple[tuple[tuple[Row, ...], tuple[str, ...]], ...]


def pending_of(
    video_batches: Sequence[VideoBatch], samplers: Sequence[str], settled: Mapping[Key, bool]
) -> Pending:
    """Batches some of whose answers are not settled, in their order."""
    jobs: list[VideoJob] = []
    batches = []
    for video_batch in video_batches:
        videos: set[str] = set()
        for batch in video_batch.batches:
            open_samplers = tuple(
                sampler
                for sampler in samplers
                if not all((question.sample_id, sampler) in settled for _, question in batch)
            )
            if open_samplers:
                batches.append((batch, open_samplers))
                videos |= {question.video for _, question in batch}
        jobs += [job for job in video_batch.jobs if job.name in videos]
    return Pending(jobs=tuple(jobs), batches=tuple(batches))


def _video_batch(jobs: Sequence[VideoJob], size: int) -> VideoBatch:
    rows = [row for job in jobs for row in job.rows]
    batches = tuple(tuple(rows[start : start + size]) for start in range(0, len(rows), size))
    return VideoBatch(jobs=tuple(jobs), batches=batches)
