"""`strive-rl eval --shards`: answers under each frame sampler, scored by the reward's accuracy.

predictions.jsonl has a line for each (question, column); results.json what they add up to. With a baseline,
the gain over it is paired question by question; so is the gain of a vote over its controls.

Until results.json is there, progress.jsonl holds what is evaluated, then a line for each batch on the disk.
Started again, the evaluation goes on behind the last of them and ends with the same predictions.jsonl.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

from strive_data.common.settings import as_dict
from strive_data.errors import UsageError
from strive_data.schema import GROUNDING, Question
from strive_data.shards.reader import ShardSet
from strive_rl.answers.accuracy import final_answer
from strive_rl.answers.similarity import recalls
from strive_rl.answers.vote import Election, elect
from strive_rl.benchmarks import scoring
from strive_rl.benchmarks.rules.open_answers import CUSTOM
from strive_rl.common import jsonl
from strive_rl.common.run_settings import (
    PROGRESS_FILE,
    RESULTS_FILE,
    require_evaluation,
    require_folder,
    run_identity,
    run_record,
)
from strive_rl.common.statistics import estimate, widened
from strive_rl.data.views import evidence_seen
from strive_rl.eval.answer import Answer, Asked, answer, votes
from strive_rl.eval.compare import read_scored
from strive_rl.eval.config import PREDICTIONS_FILE, Column, EvalSettings
from strive_rl.eval.frames import require_views
from strive_rl.eval.pages import score_page
from strive_rl.eval.table import even_note
from strive_rl.policy import Policy, load_policy
from strive_rl.rollout.groups import RolloutEngine, load_engine

Prediction = dict[str, Any]
Dropped = dict[str, str]
Observer = Callable[[int, int], None]
Seconds = defaultdict[str, float]


def evaluate(
    out: Path,
    *,
    shards: ShardSet,
    model: str,
    settings: EvalSettings,
    baseline: Path | None = None,
    observe: Observer = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a model into `out`, or go on with an evaluation that was stopped; the content of results.json.

    Raises UsageError where `out` already holds results or an evaluation of something else, for an unknown
    frame sampler, a model that cannot be loaded, and a baseline of other questions.
    """
    require_views(shards, settings)
    require_folder(out)
    if (out / RESULTS_FILE).exists():
        raise UsageError(f"{out} already holds results: give another --out")
    require_evaluation(out, as_dict(settings), model=model, shards=shards)
    before = read_predictions(baseline) if baseline else None
    policy = load_policy(model, settings.policy)
    out.mkdir(parents=True, exist_ok=True)
    rows, done = _go_on(out, run_identity(as_dict(settings), model=model, shards=shards))
    dropped = [each for batch in done for each in batch["dropped"]]
    spent: Seconds = defaultdict(float, done[-1]["seconds"] if done else {})
    engine = load_engine(policy, settings, settings.max_new_tokens)
    for made, lost in predict(policy, shards, settings, engine, spent=spent, skip=len(done)):
        jsonl.append(out / PREDICTIONS_FILE, made)
        batch = {"predictions": len(made), "dropped": lost, "seconds": dict(spent)}
        jsonl.append(out / PROGRESS_FILE, [batch])
        rows += made
        dropped += lost
        observe(len(rows) + len(dropped), len(shards) * len(settings.columns))
    results = run_record(as_dict(settings), model=model, shards=shards)
    results |= {"dropped": dropped, "samplers": summarise(rows, settings)}
    if settings.variants > 1 or settings.vote:
        results |= votes(settings, rows, spent, partial(_vote_gain, rows, settings))
    if before is not None:
        results |= {"baseline": str(baseline), "gain": gains(before, rows, settings)}
    jsonl.write_json(out / RESULTS_FILE, results)
    (out / PROGRESS_FILE).unlink()
    return results


def _go_on(out: Path, identity: jsonl.Record) -> tuple[list[Prediction], list[jsonl.Record]]:
    """The predictions of whole batches, which the file is cut back to, and the lines of these batches."""
    batches = jsonl.read(out / PROGRESS_FILE)[1:]
    rows = jsonl.read(out / PREDICTIONS_FILE)[: sum(batch["predictions"] for batch in batches)]
    for name, lines in ((PREDICTIONS_FILE, rows), (PROGRESS_FILE, [identity, *batches])):
        temporary = out / f".{name}.tmp"
        temporary.unlink(missing_ok=True)
        jsonl.append(temporary, lines)
        temporary.replace(out / name)
    return rows, batches


def finished_results(
    out: Path, *, shards: ShardSet, model: str, settings: EvalSettings, baseline: Path | None = None
) -> dict[str, Any] | None:
    """What an evaluation that came to its end wrote, None where there is none; a baseline's gain is added.

    Raises UsageError where it was made with other settings, model or shards, and names the difference.
    """
    if not (out / RESULTS_FILE).is_file():
        return None
    results = jsonl.read_json(out / RESULTS_FILE)
    require_evaluation(out, as_dict(settings), model=model, shards=shards)
    if baseline:
        rows = jsonl.read(out / PREDICTIONS_FILE)
        gain = gains(read_predictions(baseline), rows, settings)
        jsonl.write_json(out / RESULTS_FILE, results := results | {"baseline": str(baseline), "gain": gain})
    return results


def predict(
    policy: Policy,
    shards: ShardSet,
    settings: EvalSettings,
    engine: RolloutEngine | None = None,
    places: Sequence[int] | None = None,
    spent: Seconds | None = None,
    skip: int = 0,
) -> Iterator[tuple[list[Prediction], list[Dropped]]]:
    """Predictions and dropped questions of the samples at `places` (None: of all), batch by batch, column
    after column, but for the first `skip` batches; `spent` adds up the seconds of each column."""
    spent = defaultdict(float) if spent is None else spent
    vote = elect_completion if settings.vote else None
    size, asked_for = settings.questions_per_pass, range(len(shards)) if places is None else places
    batches = product(settings.columns, range(0, len(asked_for), size))
    for column, start in islice(batches, skip, None):
        began = time.monotonic()
        batch = asked_for[start : start + size]
        asked = [Asked(sample=shards.read(place), position=place) for place in batch]
        answers, dropped = answer(policy, asked, column, settings, engine, vote=vote)
        spent[column.name] += time.monotonic() - began
        lost = [{"sample_id": i, "sampler": column.name, "reason": reason} for i, reason in dropped]
        yield [prediction(each) for each in answers], lost


def elect_completion(texts: Sequence[str], question: Question, logprobs: Sequence[float]) -> Election:
    """The vote over the answers that the reward reads."""
    return elect([final_answer(text) for text in texts], question, logprobs)


def prediction(answered: Answer) -> Prediction:
    """The line of predictions.jsonl of one question: its values those of the elected answer, or the means.

    The evidence is seen where any of its views shows it.
    """
    question = answered.sample.meta.question
    rewards = [answered.rewards[place] for place in answered.counted]
    line = answered.line() | {
        "extracted": final_answer(answered.completions[answered.lead].text),
        "accuracy": _mean([reward.accuracy for reward in rewards]),
        "format": _mean([reward.format for reward in rewards]),
        "reward": _mean([reward.total for reward in rewards]),
        **({"ious": [reward.accuracy for reward in rewards]} if question.problem_type == GROUNDING else {}),
    }
    seen = [evidence_seen(view.times.tolist(), question.evidence_spans) for view in answered.views]
    line["evidence_seen"] = any(seen) if question.evidence_spans else None
    if answered.election:
        line["accuracies"] = [reward.accuracy for reward in answered.rewards]
    if len(seen) > 1 and question.evidence_spans:
        line["evidence_by_view"] = seen
    return line


def _vote_gain(rows: Sequence[Prediction], settings: EvalSettings, control: Column) -> dict[str, Any] | None:
    """The gain of a vote over one of its controls, on the questions of both: a view of more frames may be too
    long a prompt."""
    found = [_keyed(rows, name) for name in (control.name, control.sampler)]
    both = found[0].keys() & found[1].keys()
    before, after = ({i: each[i] for i in both} for each in found)
    return _gain(before, after, control.name, settings)


def summarise(rows: Sequence[Prediction], settings: EvalSettings) -> dict[str, Any]:
    """What each sampler's predictions add up to, and apart by whether the evidence was among the frames.

    `grounding` has mIoU and R@IoU of the answers to temporal grounding, where there are any."""
    summary: dict[str, Any] = {}
    for sampler in (column.name for column in settings.columns):
        mine = [row for row in rows if row["sampler"] == sampler]
        parts = {
            "evidence_seen": [row for row in mine if row["evidence_seen"] is True],
            "evidence_missed": [row for row in mine if row["evidence_seen"] is False],
        }
        summary[sampler] = {
            "frames_from": sorted({row["frames_from"] for row in mine}),
            "accuracy": _accuracy(mine, settings),
            "format": _mean([row["format"] for row in mine]),
            "reward": _mean([row["reward"] for row in mine]),
            "truncated_share": _mean([not row["finished"] for row in mine]),
        } | {name: _accuracy(part, settings) for name, part in parts.items()}
        if ious := [iou for row in mine for iou in row.get("ious", ())]:
            summary[sampler]["grounding"] = {"answers": len(ious), "mIoU": _mean(ious)} | recalls(ious)
    return summary


def gains(
    before: Sequence[Prediction], after: Sequence[Prediction], settings: EvalSettings
) -> dict[str, Any]:
    """Accuracy after minus before, paired by question, for each sampler; intervals over videos.

    Raises UsageError where the two do not hold the same questions under a sampler.
    """
    return {
        sampler: _gain(_keyed(before, sampler), _keyed(after, sampler), sampler, settings)
        for sampler in settings.samplers
    }


def write_pages(folder: Path, settings: EvalSettings) -> list[Path]:
    """Write a page for each column of an evaluation on the samples of a build, as `strive-rl score` does:
    accuracy by source and question type, questions answered rightly and wrongly. Returns the files."""
    convention = CUSTOM.conventions[0]
    bootstrap: dict[str, Any] = {"resamples": settings.bootstrap_resamples, "seed": settings.seed}
    made = jsonl.read_json(folder / RESULTS_FILE)
    pages = []
    for column in settings.columns:
        read = read_scored(folder, column.name)
        rows = list(read.rows.values())
        results: dict[str, Any] = {
            "title": f"Samples of a build, {column.name} frames",
            "conventions": {convention.name: f"answered under {column.way}"},
            "made": [f"model {made['model']}", f"build {made['shards']}"],
            "notes": even_note(column.name, (row.frames.get("frames_from", "") for row in rows)),
        }
        results |= scoring.summarise(CUSTOM, rows, missing="wrong", **bootstrap)
        pages.append(folder / f"page-{column.name}.html")
        pages[-1].write_text(score_page(results, rows), encoding="utf-8")
    return pages


def read_predictions(folder: Path) -> list[Prediction]:
    """Predictions of a finished evaluation. Raises UsageError where the folder is not one."""
    if not (folder / RESULTS_FILE).is_file():
        raise UsageError(f"baseline {folder}: no finished evaluation (no {RESULTS_FILE})")
    return jsonl.read(folder / PREDICTIONS_FILE)


def _keyed(rows: Sequence[Prediction], sampler: str) -> dict[str, Prediction]:
    return {row["sample_id"]: row for row in rows if row["sampler"] == sampler}


def _gain(
    before: dict[str, Prediction], after: dict[str, Prediction], sampler: str, settings: EvalSettings
) -> dict[str, Any] | None:
    if before.keys() != after.keys():
        apart = len(before.keys() ^ after.keys())
        raise UsageError(
            f"the baseline holds other questions under {sampler!r}: {apart} are in one of the two only"
        )
    ids = sorted(after)
    differences = [after[i]["accuracy"] - before[i]["accuracy"] for i in ids]
    return _estimate(differences, [after[i] for i in ids], settings, difference=True)


def _accuracy(rows: Sequence[Prediction], settings: EvalSettings) -> dict[str, Any] | None:
    return _estimate([row["accuracy"] for row in rows], rows, settings)


def _estimate(
    values: Sequence[float], rows: Sequence[Prediction], settings: EvalSettings, *, difference: bool = False
) -> dict[str, Any] | None:
    videos = [row["video_id"] for row in rows]
    made = estimate(values, videos, resamples=settings.bootstrap_resamples, seed=settings.seed)
    made = widened(made, difference=difference)
    return asdict(made) if made else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
