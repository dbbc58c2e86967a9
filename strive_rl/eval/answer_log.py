"""The questions of a benchmark in batches → lines of predictions.jsonl; what is written, and what is left.

Batches follow from the questions and their size alone: not from how many processes share them, nor from where
an evaluation was stopped. So each answer is made beside the same others, and its bits are the same.

Answers are lines of predictions.jsonl, questions that cannot be answered lines of failures.jsonl; each of
several processes writes files of its own (predictions.rank001.jsonl). A batch is on the disk before the next
one starts, and a line that a crash cut short is cut off. When all is there, one file in the order of the
questions takes the place of them all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strive_data.common.settings import differences
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.errors import UsageError
from strive_data.schema import FailedRow, Question, Sample
from strive_rl.answers.vote import Election
from strive_rl.benchmarks.items import Benchmark, Item
from strive_rl.benchmarks.scoring import elected, scored_answers
from strive_rl.common import distributed, jsonl
from strive_rl.common.run_settings import SETTINGS_FILE, evaluation_settings
from strive_rl.eval.answer import Answer, Asked, Dropped, answer
from strive_rl.eval.config import BenchmarkSettings, Column
from strive_rl.policy import Policy
from strive_rl.rollout.groups import RolloutEngine
from strive_rl.schema import PromptStyle

Row = tuple[int, Question]
Key = tuple[str, str]
"""(sample id, frame sampler) of an answer."""
PendingBatch = tuple[tuple[Row, ...], list[str]]
"""Questions, and the samplers that they still need answers of."""


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


def order_of(video_batches: Sequence[VideoBatch], samplers: Sequence[str]) -> dict[Key, int]:
    """Place of each answer in predictions.jsonl: batch by batch, within it sampler by sampler."""
    batches = [batch for video_batch in video_batches for batch in video_batch.batches]
    keys = [(q.sample_id, sampler) for batch in batches for sampler in samplers for _, q in batch]
    return {key: place for place, key in enumerate(keys)}


def pending_of(
    video_batches: Sequence[VideoBatch], samplers: Sequence[str], known: Collection[Key]
) -> tuple[list[VideoJob], list[PendingBatch]]:
    """What is left, in its order: batches some of whose answers are not known, and the jobs of their videos,
    whole: a video's scores may depend on which of its questions are scored together."""
    jobs: list[VideoJob] = []
    batches: list[PendingBatch] = []
    for video_batch in video_batches:
        videos: set[str] = set()
        for batch in video_batch.batches:
            left = [name for name in samplers if any((q.sample_id, name) not in known for _, q in batch)]
            if left:
                batches.append((batch, left))
                videos |= {question.video for _, question in batch}
        jobs += [job for job in video_batch.jobs if job.name in videos]
    return jobs, batches


def _video_batch(jobs: Sequence[VideoJob], size: int) -> VideoBatch:
    rows = [row for job in jobs for row in job.rows]
    batches = tuple(tuple(rows[start : start + size]) for start in range(0, len(rows), size))
    return VideoBatch(jobs=tuple(jobs), batches=batches)


PREDICTIONS, FAILURES = "predictions", "failures"
EVERY = ""
"""The frame sampler of a failure that concerns all of them."""
ANSWERING = "answering "
"""Before the name of a column: under which name the seconds of answering it are added up."""

Line = dict[str, Any]


def open_folder(out: Path, record: Line) -> None:
    """Make the folder, or continue in it. A folder that holds no answer yet starts again.

    Raises UsageError where it was started with other settings, or is in use.
    """
    file = out / SETTINGS_FILE
    if file.is_file() and not read(out, PREDICTIONS):
        for path in (*_files(out, PREDICTIONS), *_files(out, FAILURES)):
            path.unlink()
    elif file.is_file():
        saved = jsonl.read_json(file)
        made, wanted = (
            each | {"settings": evaluation_settings(each.get("settings", {}))} for each in (saved, record)
        )
        changed = differences(made, wanted)
        if changed:
            raise UsageError(
                f"cannot continue in {out}: started otherwise ({'; '.join(changed)}): restore that, or "
                "give another --out"
            )
        return
    if out.is_dir() and any(out.glob("*.jsonl")):
        raise UsageError(f"{out} holds the files of something else: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    jsonl.write_json(file, record)


def settled(out: Path, samplers: Iterable[str]) -> set[Key]:
    """The answers that are written, or have failed."""
    lost = {
        (sample_id, each)
        for sample_id, sampler in read(out, FAILURES)
        for each in (samplers if sampler == EVERY else (sampler,))
    }
    return lost | read(out, PREDICTIONS).keys()


def write(out: Path, name: str, lines: Iterable[Line]) -> None:
    """Append lines to this process's file, on the disk when this returns."""
    several = distributed.world_size() > 1
    path = out / (f"{name}.rank{distributed.rank():03d}.jsonl" if several else f"{name}.jsonl")
    if made := list(lines):
        jsonl.append(path, made)


def mend(out: Path) -> None:
    """Cut off lines that a crash cut short, so that others can be appended."""
    for path in _files(out, PREDICTIONS) + _files(out, FAILURES):
        jsonl.cut_back(path)


def merge(out: Path, name: str, order: Mapping[Key, int]) -> list[Line]:
    """One file of all lines in this order (others behind them, by key), by rename; the lines."""
    lines = read(out, name)
    ranked = [lines[key] for key in sorted(lines, key=lambda key: (order.get(key, len(order)), key))]
    temporary = out / f"{name}.jsonl.tmp"
    temporary.write_bytes(b"")
    jsonl.append(temporary, ranked)
    files = _files(out, name)
    temporary.replace(out / f"{name}.jsonl")
    for path in files:
        if path.name != f"{name}.jsonl":
            path.unlink()
    return ranked


def read(out: Path, name: str) -> dict[Key, Line]:
    """The lines that are written so far, from all files of the folder."""
    lines = [line for path in _files(out, name) for line in jsonl.read(path)]
    return {(line["sample_id"], line["sampler"]): line for line in reversed(lines)}


def _files(out: Path, name: str) -> list[Path]:
    return [*out.glob(f"{name}.jsonl"), *sorted(out.glob(f"{name}.rank*.jsonl"))]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerContext:
    """What answers are made by: the model, the benchmark and its items by sample id. `spent` adds up the
    seconds of reading videos, by stage, and with several variants those of answering, by column."""

    policy: Policy
    benchmark: Benchmark
    items: Mapping[str, Item]
    settings: BenchmarkSettings
    engine: RolloutEngine | None = None
    spent: Counter[str] = field(default_factory=Counter)


def answered(
    context: AnswerContext, pending: Sequence[PendingBatch], videos: Iterator[VideoResult]
) -> Iterator[tuple[list[Line], list[Line]]]:
    """Lines of answers and of failures, one pair a batch and column, in the order of `pending`.

    `videos` are the results of its jobs, in their order.
    """
    settings, items = context.settings, context.items
    columns = {column.name: column for column in settings.columns}
    ready: dict[str, Sample | FailedRow] = {}
    wanted = {question.sample_id for batch, _ in pending for _, question in batch}
    for batch, samplers in pending:
        while any(question.sample_id not in ready for _, question in batch):
            video = next(videos)
            context.spent.update(video.seconds)
            named = zip(video.job.rows, video.results, strict=True)
            ready |= {q.sample_id: result for (_, q), result in named if q.sample_id in wanted}
        results = [(row, ready.pop(row[1].sample_id)) for row in batch]
        lost = [failed_row(result) for _, result in results if isinstance(result, FailedRow)]
        asked = []
        for (number, question), result in results:
            if isinstance(result, Sample):
                form = context.benchmark.form(items[question.sample_id])
                style = PromptStyle(reason=settings.prompt == "reason", form=form)
                asked.append(Asked(sample=result, position=number, wording=style))
        yield [], lost
        for sampler in samplers:
            answers, dropped = _answer(context, asked, columns[sampler])
            yield (
                [answer_line(context, each) for each in answers],
                [
                    failure_line(i, items[i].question.video, reason, stage="prompt", sampler=sampler)
                    for i, reason in dropped
                ],
            )


def _answer(
    context: AnswerContext, asked: Sequence[Asked], column: Column
) -> tuple[list[Answer], list[Dropped]]:
    """The answers of one batch in one column, timed where columns are compared by their cost."""
    began, settings = time.monotonic(), context.settings

    def vote(texts: Sequence[str], question: Question, logprobs: Sequence[float]) -> Election:
        return elected(context.benchmark, context.items[question.sample_id], texts, logprobs)

    engine, voter = context.engine, vote if settings.vote else None
    made = answer(context.policy, asked, column, settings, engine, vote=voter)
    if settings.variants > 1 or settings.vote:
        context.spent.update({ANSWERING + column.name: time.monotonic() - began})
    return made


def answer_line(context: AnswerContext, one: Answer) -> Line:
    """The line of predictions.jsonl of one question under one sampler.

    `score` and `extracted` are those of the benchmark's first convention, a mean over several answers; None
    where a judge must decide, or where the convention leaves the answer out.
    """
    item = context.items[one.sample.meta.question.sample_id]
    lead = context.benchmark.conventions[0].name
    row = scored_answers(context.benchmark, item, [one.completions[place].text for place in one.counted])
    return one.line() | {
        "tags": dict(item.tags),
        "extracted": row.extracted.get(lead),
        "score": row.values.get(lead),
    }


def failure_line(
    sample_id: str, video: str, message: str, *, stage: str, kind: str = "bad_row", sampler: str = EVERY
) -> Line:
    """The line of failures.jsonl of a question without an answer."""
    where = {"sample_id": sample_id, "sampler": sampler, "video": video}
    return where | {"stage": stage, "kind": kind, "message": message}


def failed_row(row: FailedRow) -> Line:
    """The same of a row whose video cannot be read."""
    return failure_line(row.sample_id, row.video, row.message, stage=row.stage, kind=str(row.kind))
