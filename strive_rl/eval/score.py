"""`strive-rl score`: the predictions of any system on a benchmark, as its authors score them and as we do.

scored.jsonl has a line a question, results.json totals and breakdowns, for_judge.jsonl what only a judge can
decide, page.html all that with examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from strive_data.annotations.read import NO_COLUMNS
from strive_data.common.files import disk_full_named
from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.benchmarks.formats import read_predictions
from strive_rl.benchmarks.items import Benchmark, Item, ItemSet, Scored, read_items
from strive_rl.benchmarks.judgements import judge_rows, read_judgements
from strive_rl.benchmarks.predictions import Joined, Prediction, PredictionFile, join
from strive_rl.benchmarks.scoring import (
    elected,
    left_out,
    scored,
    scored_answers,
    summarise,
    unusable,
    with_one_name_each,
)
from strive_rl.common import jsonl
from strive_rl.common.run_settings import RESULTS_FILE
from strive_rl.eval.compare import paired_results, read_scored
from strive_rl.eval.config import (
    JUDGE_FILE,
    PAGE_FILE,
    PREDICTIONS_FILE,
    SCORED_FILE,
    UNIFORM,
    BenchmarkSettings,
    CompareSettings,
    ScoreSettings,
)
from strive_rl.eval.pages import score_page
from strive_rl.eval.table import even_note

SHOWN_IDS = 3
Results = dict[str, Any]


def score(
    predictions: Sequence[Path],
    out: Path,
    *,
    benchmark: Benchmark,
    annotations: Sequence[Path] = (),
    columns: Mapping[str, str] = NO_COLUMNS,
    items: ItemSet | None = None,
    judgements: Path | None = None,
    settings: ScoreSettings,
) -> dict[str, Any]:
    """Score files of predictions into the new folder `out`; the content of results.json.

    The questions are `items`, else those of the annotations (`columns` as for `read_items`), else those that
    the predictions themselves hold. Raises UsageError for predictions without questions, predictions of other
    questions, and as the readers do.
    """
    if (out / RESULTS_FILE).exists():
        raise UsageError(f"{out} already holds results: give another --out")
    files = [
        read_predictions(
            path, benchmark, format_name=settings.format, sampler=settings.sampler, all_answers=settings.vote
        )
        for path in predictions
    ]
    answers = [prediction for file in files for prediction in file.predictions]
    if items is None and annotations:
        items = read_items(annotations, benchmark, settings.recipe, columns=columns)
    items = items or own_items(answers)
    if not items.items:
        first = items.unusable[0].message if items.unusable else "it is empty"
        raise UsageError(f"no row of the annotation can be used; the first: {first}")
    elect = partial(_elected, benchmark) if settings.vote else None
    joined = join(items.items, spread(answers) if elect else answers, elect)
    if not joined.predictions:
        raise UsageError(_no_match(benchmark, items.items, answers))
    if judgements and any(prediction.outputs for prediction in joined.predictions.values()):
        raise UsageError(
            f"judgements {judgements} hold one a question, but these predictions hold several answers"
        )
    held = {name: each.judgement for name, each in joined.predictions.items() if each.judgement is not None}
    judged = read_judgements(judgements, items.items) if judgements else held
    rows = score_items(benchmark, items, joined, judged)
    results = _head(benchmark, settings, predictions, files, items, judgements)
    results["notes"] = [*benchmark.notes, *_notes(benchmark, rows, files, joined, items, settings)]
    results |= summarise(
        benchmark, rows, missing=settings.missing, resamples=settings.bootstrap_resamples, seed=settings.seed
    )
    results["counts"] |= {
        "bad_prediction_rows": sum(len(file.bad) for file in files),
        "unknown_predictions": len(joined.unknown),
        "repeated_predictions": joined.repeated,
        "unused_judgements": len(judged) - sum(row.status == "judged" for row in rows),
        **({"voters": joined.voters} if settings.vote else {}),
    }
    write_scored(out, benchmark, items.items, rows, results)
    return results


def spread(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Each answer as a prediction of its own."""
    return [
        replace(prediction, output=output, outputs=(), logprobs=prediction.logprobs[place : place + 1])
        for prediction in predictions
        for place, output in enumerate(prediction.outputs or (prediction.output,))
    ]


def _elected(benchmark: Benchmark, item: Item, given: Sequence[Prediction]) -> Prediction:
    """Who is elected of the predictions of one question; log-probabilities count where all have one."""
    logprobs = [each for prediction in given for each in prediction.logprobs]
    known = logprobs if len(logprobs) == len(given) else []
    return given[elected(benchmark, item, [each.output for each in given], known).index]


def _no_match(benchmark: Benchmark, items: Sequence[Item], answers: Sequence[Prediction]) -> str:
    wanted = [item.question.sample_id for item in items[:SHOWN_IDS]]
    given = [", ".join(answer.ids) or f"no id, video {answer.video!r}" for answer in answers[:SHOWN_IDS]]
    return (
        f"none of {plural(len(answers), 'prediction')} answers one of {plural(len(items), 'question')}: the "
        f"predictions have the ids {'; '.join(given)}, the questions of --benchmark {benchmark.name} have "
        f"{'; '.join(wanted)}: give the --annotations that the predictions were made from"
    )


def score_items(
    benchmark: Benchmark, items: ItemSet, joined: Joined, judgements: Mapping[str, float]
) -> list[Scored]:
    """Every row of the annotation, scored: its questions in their order, then the unusable rows."""
    rows = []
    for item in items.items:
        sample_id = item.question.sample_id
        prediction = joined.predictions.get(sample_id)
        if prediction is not None and prediction.outputs:
            row = scored_answers(benchmark, item, prediction.outputs)
        else:
            output = prediction.output if prediction else None
            row = scored(benchmark, item, output, judgements.get(sample_id))
        rows.append(replace(row, frames=prediction.frames) if prediction else row)
    return with_one_name_each(rows + [unusable(benchmark, row) for row in items.unusable])


def own_items(predictions: Sequence[Prediction]) -> ItemSet:
    """The questions that the predictions hold themselves. Raises UsageError where one holds none."""
    items: dict[str, Item] = {}
    for prediction in predictions:
        if prediction.item is None:
            raise UsageError(
                f"{prediction.place} does not hold its whole question: name the benchmark's own files by "
                "--annotations"
            )
        items.setdefault(prediction.item.question.sample_id, prediction.item)
    return ItemSet(items=tuple(items.values()), input_sha256={})


def write_scored(
    out: Path, benchmark: Benchmark, items: Iterable[Item], rows: Sequence[Scored], results: dict[str, Any]
) -> None:
    """Write the files of a scored folder, results.json last."""
    by_id = {item.question.sample_id: item for item in items}
    waiting = [row for row in rows if row.status == "awaiting judge"]
    awaiting = [line for row in waiting for line in judge_rows(benchmark, by_id[row.sample_id], row)]
    with disk_full_named(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, records in ((SCORED_FILE, [asdict(row) for row in rows]), (JUDGE_FILE, awaiting)):
            (out / name).unlink(missing_ok=True)
            if records:
                jsonl.append(out / name, records)
        (out / PAGE_FILE).write_text(score_page(results, rows), encoding="utf-8")
        jsonl.write_json(out / RESULTS_FILE, results)


def _head(
    benchmark: Benchmark,
    settings: ScoreSettings,
    predictions: Sequence[Path],
    files: Sequence[PredictionFile],
    items: ItemSet,
    judgements: Path | None,
) -> dict[str, Any]:
    read = [
        {"file": path.as_posix(), "sha256": _sha256(path), "format": file.format}
        for path, file in zip(predictions, files, strict=True)
    ]
    inputs: dict[str, Any] = {"predictions": read, "annotations": dict(items.input_sha256)}
    if judgements:
        inputs["judgements"] = {judgements.as_posix(): _sha256(judgements)}
    return {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "conventions": {c.name: c.note for c in benchmark.conventions},
        "settings": as_dict(settings),
        "inputs": inputs,
    }


def _sha256(path: Path) -> str:
    file = path / PREDICTIONS_FILE if path.is_dir() else path
    return sha256(file.read_bytes()).hexdigest()


def _notes(
    benchmark: Benchmark,
    rows: Sequence[Scored],
    files: Sequence[PredictionFile],
    joined: Joined,
    items: ItemSet,
    settings: ScoreSettings,
) -> list[str]:
    """What changes the denominator, or makes it smaller than the published benchmark's."""
    notes = even_note(settings.sampler or "the", (str(row.frames.get("frames_from", "")) for row in rows))
    absent = sum(row.status in ("missing", "unusable") for row in rows)
    if absent:
        became = "count as wrong" if settings.missing == "wrong" else "are left out of the mean"
        notes.append(
            f"without a usable row or answer: {absent} of {plural(len(rows), 'question')}; they {became}."
        )
    for name, number in left_out(benchmark, rows).items():
        notes.append(
            f"{name} leaves {plural(number, 'answer')} out of its mean, as the authors' code does: "
            "it reads none in them."
        )
    if benchmark.published and len(rows) != benchmark.published:
        notes.append(f"{plural(len(rows), 'question')}, of {benchmark.published} that are published.")
    if not items.input_sha256:
        notes.append("No annotation was given: the questions are those of the predictions.")
    bad = sum(len(file.bad) for file in files)
    if bad or joined.unknown:
        notes.append(
            f"rows of the predictions without an output: {bad}; outputs for unknown questions: "
            f"{len(joined.unknown)}."
        )
    if settings.vote:
        notes.append(
            f"elected by vote: {plural(len(joined.predictions), 'answer')} of "
            f"{plural(joined.voters, 'prediction')}; a gain over single answers is one at inference, not of "
            "training."
        )
    return notes


def score_columns(
    out: Path,
    *,
    benchmark: Benchmark,
    items: ItemSet,
    recipe: str | None,
    settings: BenchmarkSettings,
) -> dict[str, Results]:
    """Score each column's predictions in `out` into the folder of its name; results.json of each."""
    columns = {}
    for sampler in (column.name for column in settings.columns):
        folder = out / sampler
        # One that an earlier call began: the whole evaluation is not done without its own results.json.
        (folder / RESULTS_FILE).unlink(missing_ok=True)
        wanted = ScoreSettings(
            missing=settings.missing,
            sampler=sampler,
            recipe=recipe,
            bootstrap_resamples=settings.bootstrap_resamples,
            seed=settings.seed,
        )
        columns[sampler] = score([out], folder, benchmark=benchmark, items=items, settings=wanted)
    return columns


def gains_over_uniform(out: Path, settings: BenchmarkSettings) -> dict[str, Results]:
    """The paired gain of each other sampler over uniform frames: what the choice of frames alone gives."""
    if UNIFORM not in settings.samplers:
        return {}
    others = [sampler for sampler in settings.samplers if sampler != UNIFORM]
    return {sampler: compared(out / UNIFORM, out / sampler, settings) for sampler in others}


def gains_over_baseline(baseline: Path, out: Path, settings: BenchmarkSettings) -> dict[str, Results]:
    """The paired gain over another evaluation, of each frame sampler that it holds too.

    Raises UsageError where it is none, holds none of them, or other questions.
    """
    held = jsonl.read_json(baseline / RESULTS_FILE).get("columns", {})
    both = [sampler for sampler in settings.samplers if sampler in held]
    return {sampler: compared(baseline / sampler, out / sampler, settings) for sampler in both}


def require_baseline(baseline: Path, settings: BenchmarkSettings) -> None:
    """Raise UsageError where it is no finished evaluation on a benchmark under one of the samplers."""
    file = baseline / RESULTS_FILE
    held = jsonl.read_json(file).get("columns", {}) if file.is_file() else {}
    if not held.keys() & set(settings.samplers):
        seen = f"it holds {', '.join(held)}" if held else "no finished evaluation on a benchmark"
        raise UsageError(f"baseline {baseline}: {seen}, expected one of {', '.join(settings.samplers)}")


def compared(a: Path, b: Path, settings: BenchmarkSettings) -> Results:
    """`strive-rl compare a b`, by this evaluation's bootstrap."""
    bootstrap = CompareSettings(bootstrap_resamples=settings.bootstrap_resamples, seed=settings.seed)
    return paired_results(read_scored(a), read_scored(b), settings=bootstrap)[0]
