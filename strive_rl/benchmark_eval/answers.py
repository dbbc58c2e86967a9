"""Batches of questions → lines of predictions.jsonl, each as soon as its videos are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from strive_data.sample_stream import VideoResult
from strive_data.schema import Failure, Sample
from strive_rl.answering import Answer, Asked, Dropped, answer
from strive_rl.benchmark_eval.ledger import EVERY
from strive_rl.benchmark_eval.plan import Pending, Row
from strive_rl.benchmarks.item import Benchmark, Item, Unusable
from strive_rl.benchmarks.verdicts import scored_answers
from strive_rl.eval_config import BenchmarkSettings
from strive_rl.policy import Policy
from strive_rl.schema import Wording

Line = dict[str, Any]
Look = Callable[[VideoResult], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Asking:
    """What answers are made by: the model, the benchmark and its items by sample id."""

    policy: Policy
    benchmark: Benchmark
    items: Mapping[str, Item]
    settings: BenchmarkSettings


def answered(
    asking: Asking, pending: Pending, videos: Iterator[VideoResult], look: Look = lambda video: None
) -> Iterator[tuple[list[Line], list[Line]]]:
    """Lines of answers and of failures, one pair a batch and sampler, in the order of `pending`.

    `videos` are the results of its jobs, in their order; `look` sees each as it comes.
    """
    ready: dict[str, Sample | Failure] = {}
    wanted = {question.sample_id for batch, _ in pending.batches for _, question in batch}
    for batch, samplers in pending.batches:
        while any(question.sample_id not in ready for _, question in batch):
            video = next(videos)
            look(video)
            named = zip(video.job.rows, video.results, strict=True)
            ready |= {q.sample_id: result for (_, q), result in named if q.sample_id in wanted}
        results = [(row, ready.pop(row[1].sample_id)) for row in batch]
        lost = [failure_line(result) for _, result in results if isinstance(result, Failure)]
        asked = [_asked(asking, row, result) for row, result in results if isinstance(result, Sample)]
        yield [], lost
        for sampler in samplers:
            answers, dropped = answer(asking.policy, asked, sampler, asking.settings)
            yield (
                [answer_line(asking, each) for each in answers],
                [_dropped_line(asking, each, sampler) for each in dropped],
            )


def answer_line(asking: Asking, one: Answer) -> Line:
    """The line of predictions.jsonl of one question under one sampler; `score` is the benchmark's own, the
    mean over several answers (None: only a judge can tell)."""
    item = asking.items[one.sample.meta.question.sample_id]
    row = scored_answers(asking.benchmark, item, [completion.text for completion in one.completions])
    return one.line() | {
        "tags": dict(item.tags),
        "extracted": row.extracted,
        "score": row.values.get(asking.benchmark.conventions[0].name),
    }


def failure_line(failure: Failure) -> Line:
    """The line of failures.jsonl of a question without an answer."""
    return {
        "sample_id": failure.sample_id,
        "sampler": EVERY,
        "video": failure.video,
        "stage": failure.stage,
        "kind": str(failure.kind),
        "message": failure.message,
    }


def unusable_line(row: Unusable) -> Line:
    """The line of failures.jsonl of a row of the annotation that is no question."""
    told = {"stage": "annotation", "kind": "bad_row", "message": row.message}
    return {"sample_id": row.sample_id, "sampler": EVERY, "video": row.video} | told


def _dropped_line(asking: Asking, dropped: Dropped, sampler: str) -> Line:
    sample_id, reason = dropped
    video = asking.items[sample_id].question.video
    told = {"stage": "prompt", "kind": "bad_row", "message": reason}
    return {"sample_id": sample_id, "sampler": sampler, "video": video} | told


def _asked(asking: Asking, row: Row, sample: Sample) -> Asked:
    number, question = row
    wording = Wording(
        reason=asking.settings.prompt == "reason",
        form=asking.benchmark.form(asking.items[question.sample_id]),
    )
    return Asked(sample=sample, position=number, wording=wording)
