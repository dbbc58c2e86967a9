"""`strive-rl probe`: how often a model answers each question of a build right, before training.

Each question is answered under V variants, n times each, as in training. pass_rates.parquet has a row for
each question and variant:

    sample_id video_id problem_type source   of the question
    variant                                  0 to V − 1, at the phase (v + ½)/V
    completions passed pass_rate             n, the sum of their accuracies, and its share
    evidence_seen                            whether a frame of the variant lies in the evidence, if known
    reason                                   why there are no completions, else null

Its metadata holds the settings, the model, the build and the versions. strive_rl/README.md shows how to drop
questions by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.common.console import echo
from strive_data.common.files import disk_full, has_room
from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_data.schema import Sample
from strive_data.shards.reader import ShardSet
from strive_rl.common import distributed
from strive_rl.common.preflight import require_new
from strive_rl.common.profiling import oom_hint
from strive_rl.common.progress import EvalProgress
from strive_rl.common.run_settings import run_record
from strive_rl.data.views import evidence_seen
from strive_rl.eval.answer import Answer, Asked, answer
from strive_rl.eval.config import ProbeSettings
from strive_rl.policy import load_policy
from strive_rl.rollout.groups import load_engine

Row = dict[str, Any]
Observer = Callable[[int, int], None]

SCHEMA = {
    "sample_id": pl.String,
    "video_id": pl.String,
    "problem_type": pl.String,
    "source": pl.String,
    "variant": pl.Int32,
    "completions": pl.Int32,
    "passed": pl.Float64,
    "pass_rate": pl.Float64,
    "evidence_seen": pl.Boolean,
    "reason": pl.String,
}
# Pass rates nearer to 0 or 1 than this leave little to learn.
EXTREME = 0.05


def probe(
    out: Path, *, shards: ShardSet, model: str, settings: ProbeSettings, observe: Observer = lambda *_: None
) -> pl.DataFrame:
    """Write the table of pass rates to the new file `out`; its rows, in the order of the build.

    Several processes (torchrun) share the questions; the first one writes. Raises UsageError where the file
    is there already, for a build without samples, and for a model that cannot be loaded.
    """
    require_new(out)
    if not len(shards):
        raise UsageError(f"{shards.folder}: the build holds no sample to probe")
    mine = range(len(shards))[distributed.rank() :: distributed.world_size()]
    rows: list[tuple[int, Row]] = []
    with distributed.propagate_errors():
        for place, made in probed(shards, mine, model, settings):
            rows += [(place, row) for row in made]
            observe(len(rows), len(mine) * settings.variants)
    ordered = sorted(distributed.all_gather_list(rows), key=lambda each: (each[0], each[1]["variant"]))
    table = pl.DataFrame([row for _, row in ordered], schema=SCHEMA)
    if distributed.is_first():
        record = json.dumps(run_record(as_dict(settings), model=model, shards=shards))
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.tmp")
        table.write_parquet(temporary, metadata={"strive": record})
        temporary.replace(out)
    return table


def probed(
    shards: ShardSet, places: Sequence[int], model: str, settings: ProbeSettings
) -> Iterator[tuple[int, list[Row]]]:
    """(place in the build, its rows) of each question at `places`, batch by batch."""
    policy = load_policy(model, settings.policy)
    engine = load_engine(policy, settings, settings.max_new_tokens)
    (column,), size = settings.columns, settings.questions_per_pass
    for start in range(0, len(places), size):
        asked = [Asked(sample=shards.read(place), position=place) for place in places[start : start + size]]
        answers, dropped = answer(policy, asked, column, settings, engine)
        rows = {each.sample.meta.question.sample_id: _rows(each) for each in answers}
        reasons = dict(dropped)
        for one in asked:
            sample_id = one.sample.meta.question.sample_id
            lost = [_head(one.sample, v) | {"reason": reasons.get(sample_id)} for v in range(column.variants)]
            yield one.position, rows.get(sample_id, lost)
    if engine:
        engine.sleep()


def _rows(one: Answer) -> list[Row]:
    """The rows of a question that was answered, variant by variant."""
    spans, rows = one.sample.meta.question.evidence_spans, []
    count = len(one.rewards) // len(one.views)
    for variant, view in enumerate(one.views):
        rewards = one.rewards[variant * count : (variant + 1) * count]
        passed = sum(reward.accuracy for reward in rewards)
        rows.append(
            _head(one.sample, variant)
            | {
                "completions": count,
                "passed": passed,
                "pass_rate": passed / count,
                "evidence_seen": evidence_seen(view.times.tolist(), spans),
            }
        )
    return rows


def _head(sample: Sample, variant: int) -> Row:
    question = sample.meta.question
    return {
        "sample_id": question.sample_id,
        "video_id": sample.meta.info.video_id,
        "problem_type": question.problem_type,
        "source": question.source,
        "variant": variant,
        "completions": 0,
        "passed": 0.0,
    }


def summary(table: pl.DataFrame) -> str:
    """Pass rates in a few lines: how many questions are always right, always wrong, or in between."""
    sums = table.group_by("sample_id").agg(pl.col("passed", "completions").sum())
    known = sums.filter(pl.col("completions") > 0).with_columns(rate=pl.col("passed") / pl.col("completions"))
    rates: list[float] = known["rate"].to_list()
    low, high = (sum(rate < EXTREME for rate in rates), sum(rate > 1 - EXTREME for rate in rates))
    shown = f"{100 * sum(rates) / len(rates):.1f} %" if rates else "-"
    lines = [
        f"{plural(len(known), 'question')}, mean pass rate {shown}: {high} above {1 - EXTREME:.0%}, "
        f"{low} below {EXTREME:.0%}, {len(known) - low - high} in between"
    ]
    if len(known) < len(sums):
        lines.append(f"without completions: {plural(len(sums) - len(known), 'question')}, see column reason")
    return "\n".join(lines)


def launch(out: Path, *, shards: ShardSet, model: str, settings: ProbeSettings) -> None:
    """Probe as the command line starts it, with the other processes.

    Raises DiskFullError where its folder, which the caller has locked, has no room, before anything is
    sampled.
    """
    with (
        distributed.processes(distributed.PATIENCE_MINUTES),
        oom_hint(settings.policy),
        EvalProgress() as progress,
    ):
        first = distributed.is_first()
        with distributed.propagate_errors():
            if first and not has_room(out.parent):
                raise disk_full(out.parent)
        observe = progress if first else lambda done, total: None
        table = probe(out, shards=shards, model=model, settings=settings, observe=observe)
    if first:
        echo(summary(table))
        echo(str(out))
