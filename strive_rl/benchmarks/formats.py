"""The formats that files of predictions have, how each is recognised, and what its rows predict.

A format's `rows` gives for each row a `Prediction`, or the place and reason of a row without one.

strive        our own predictions.jsonl: a line a question (and frame sampler), with `sample_id` and `output`,
              or `outputs`, a list. A line that also has `question`, `answer` and `problem_type`, and where
              they apply `options`, `video` and `tags`, can be scored without an annotation
lmms-eval     its samples file (`--log_samples`): a line a question, or the `logs` of its older results file;
              `doc` is the row of the data set, under the field names of each benchmark
tempcompass   its own files of predictions and of ratings: {video: {dimension: [row]}}, one file a task
videomme      its submission layout: a list of videos, each with its `questions` and their `response`
mmvu          rows of its annotation with `response`, and the authors' judged outputs, which have
              `ground_truth_answer` instead of `answer`, and `correct`, the verdict of the authors' judge
video-r1      {"results": [row of its annotation with `output`]}, or the rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_rl.benchmarks.items import Benchmark, Item, text_of
from strive_rl.benchmarks.predictions import (
    EXPECTED,
    Prediction,
    PredictionFile,
    Records,
    item_of,
    lettered,
    read_records,
)
from strive_rl.benchmarks.rules.tempcompass import TASKS

Row = Mapping[str, Any]
Rows = Iterator[Prediction | str]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: `fits` says whether some row of a file is in it."""

    fits: Callable[[Records], bool]
    rows: Callable[[Records, Benchmark], Rows]

    def read(self, records: Records, benchmark: Benchmark) -> PredictionFile:
        """All predictions of the file, and its bad rows."""
        rows = list(self.rows(records, benchmark))
        return PredictionFile(
            predictions=tuple(row for row in rows if isinstance(row, Prediction)),
            bad=records.bad + tuple(row for row in rows if isinstance(row, str)),
        )


def read_predictions(
    path: Path,
    benchmark: Benchmark,
    *,
    format_name: str | None = None,
    sampler: str | None = None,
    all_answers: bool = False,
) -> PredictionFile:
    """Predictions of a file, or of the predictions.jsonl in a folder.

    Our own are those of one frame sampler. With `all_answers` a row has all its answers: of our own those
    that were not elected too, of lmms-eval each response. Raises UsageError for an unknown format, a file in
    no known format, and where our own hold several samplers and none is chosen, or not the chosen one.
    """
    file = path / "predictions.jsonl" if path.is_dir() else path
    records = read_records(file)
    name = choose(format_name, FORMATS, "format") if format_name else format_of(records)
    found = FORMATS[name]
    if name == "strive":
        records = of_sampler(records, sampler)
    elif sampler is not None:
        raise UsageError(
            f"predictions {file}: --sampler chooses among those of `strive-rl eval`, but these are in the "
            f"format {name}, which names no sampler: leave it out"
        )
    if name in SEVERAL:
        found = replace(found, rows=partial(SEVERAL[name], all_answers=all_answers))
    return replace(found.read(records, benchmark), format=name)


def format_of(records: Records) -> str:
    """Name of the first format that fits. Raises UsageError if none does."""
    for name, each in FORMATS.items():
        if each.fits(records):
            return name
    raise UsageError(f"predictions {records.path}: unknown format; {EXPECTED}")


def of_sampler(records: Records, sampler: str | None) -> Records:
    """Our own predictions of one frame sampler. Raises UsageError where the file holds several and none is
    chosen, or not the chosen one."""
    samplers = sorted({str(row["sampler"]) for _, row in records.rows if "sampler" in row})
    if sampler is None:
        if len(samplers) > 1:
            raise UsageError(
                f"predictions {records.path} hold several samplers: choose --sampler {' | '.join(samplers)}"
            )
        return records
    if sampler not in samplers:
        held = f"they are of {', '.join(samplers)}" if samplers else "they name no sampler: leave it out"
        raise UsageError(f"predictions {records.path}: none is of --sampler {sampler}; {held}")
    return replace(records, rows=tuple(one for one in records.rows if str(one[1].get("sampler")) == sampler))


def _strive_rows(records: Records, benchmark: Benchmark, *, all_answers: bool = False) -> Rows:
    for place, row in records.rows:
        outputs = _answers_of(row.get("outputs"))
        if outputs is None and not all_answers and isinstance(row.get("output"), str):
            outputs = ()  # some tool's own list: the output is what it answers
        if outputs is None:
            yield f"{place}: outputs holds more than texts"
            continue
        output = row.get("output", *outputs[:1])
        if not isinstance(row.get("sample_id"), str | int) or not isinstance(output, str):
            yield f"{place}: sample_id or output is missing"
            continue
        video, question = row.get("video"), row.get("question")
        yield Prediction(
            place=place,
            output=output,
            ids=(str(row["sample_id"]),),
            video=video if isinstance(video, str) else "",
            question=question if isinstance(question, str) else "",
            options=_texts_of(row.get("options")),
            item=_strive_item(row, benchmark),
            frames={name: row[name] for name in FRAME_FIELDS if name in row},
            # Of answers that elected one, that one counts.
            outputs=() if "elected" in row and not all_answers else outputs,
            logprobs=_logprobs_of(row.get("logprobs"), len(outputs) or 1),
        )


FRAME_FIELDS = ("sampler", "times", "frames_from", "finished")


def _texts_of(value: object) -> tuple[str, ...]:
    """A list of nothing but texts; nothing for anything else."""
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else ()


LARGEST_LOSS = 1e9


def _answers_of(value: object) -> tuple[str, ...] | None:
    """The answers of a list, "" for null; none without a list; None where one is no text."""
    given = value if isinstance(value, list) else []
    texts = tuple("" if each is None else each for each in given)
    return texts if all(isinstance(text, str) for text in texts) else None


def _logprobs_of(value: object, answers: int) -> tuple[float, ...]:
    """One log-probability for each answer; none where the list holds anything else, such as one a token."""
    given = value if isinstance(value, list) and len(value) == answers else []
    known = all(type(each) in (int, float) and -LARGEST_LOSS < each <= 0 for each in given)
    return tuple(map(float, given)) if known else ()


def _strive_item(row: Row, benchmark: Benchmark) -> Item | None:
    """The question that the line holds, read with the annotation's own checks."""
    layout = {
        "problem_id": row["sample_id"],
        "problem": row.get("question"),
        "problem_type": row.get("problem_type"),
        "options": row.get("options") or [],
        "solution": row.get("answer"),
        "path": row.get("video") or row.get("video_id"),
        "data_source": row.get("source"),
    }
    tags = row.get("tags")
    named = {str(name): str(value) for name, value in tags.items()} if isinstance(tags, Mapping) else None
    return item_of(layout, row, benchmark, tags=named)


VIDEO_FIELDS = (
    "videoID", "video_name", "scene_name", "video_path", "video", "path", "video_id", "video ID", "id",
)  # fmt: skip
OPTION_FIELDS = ("options", "choices", "candidates", "Options")
# Words of task names → the tag value that they mean.
GROUPS = {
    "caption_matching": "caption_matching",
    "captioning": "captioning",
    "yes_no": "yes_no",
    "multi_choice": "multi-choice",
    "tempcompass_mc": "multi-choice",
    "perception": "Perception",
    "comprehension": "Comprehension",
    "adaptation": "Adaptation",
}


def _lmms_eval_rows(records: Records, benchmark: Benchmark, *, all_answers: bool = False) -> Rows:
    for place, row in records.listed("logs"):
        doc, output = row.get("doc"), _response(row)
        if not isinstance(doc, Mapping) or output is None:
            yield f"{place}: no doc or no response"
            continue
        task = f"{records.path.stem} {row.get('task_name', '')}".casefold().replace("perceptiontest", "")
        group = next((value for word, value in GROUPS.items() if word in task), "")
        yield Prediction(
            place=place,
            output=output,
            ids=_lmms_eval_ids(doc, group),
            video=text_of(doc, *VIDEO_FIELDS),
            question=text_of(doc, "question", "problem", "Question"),
            options=lettered(next((doc[name] for name in OPTION_FIELDS if doc.get(name)), None)),
            group=group,
            outputs=_responses(row) if all_answers else (),
        )


def _responses(row: Row) -> tuple[str, ...]:
    """All raw responses, of a task that repeats its questions several, in lists of any depth."""
    found, left = [], [row.get("resps")]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += reversed(value)
        elif isinstance(value, str):
            found.append(value)
    return tuple(found)


def _response(row: Row) -> str | None:
    """The first response, in lists of any depth; the raw one first, since a filter may have removed the
    answer."""
    for name in ("resps", "filtered_resps"):
        value = row.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            return value
    return None


def _lmms_eval_ids(doc: Row, group: str) -> tuple[str, ...]:
    question, own = text_of(doc, "question_id"), text_of(doc, "id", "problem_id")
    name = text_of(doc, "video_name")
    found = [f"{group}-{own}" if group and own else "", f"{name}-{question}" if name and question else ""]
    return tuple(i for i in (*found, "" if name else question, "" if group else own) if i)


# Fields of an output; the authors count null as an empty one.
TEMPCOMPASS_OUTPUTS = ("video-llm-prediction", "prediction", "response")


def _tempcompass_rows(records: Records, benchmark: Benchmark) -> Rows:
    task = next((task for task in TASKS if task in records.path.name), "")
    for video, dimension, number, row in _leaves(records):
        place = f"{records.path.name} {video}/{dimension}[{number}]"
        if not any(name in row for name in TEMPCOMPASS_OUTPUTS):
            yield f"{place}: none of {', '.join(TEMPCOMPASS_OUTPUTS)}"
            continue
        # A rating is the judge's, 0 or 1, where the authors' rules did not match; −1 where the judge failed.
        rating = row.get("rating")
        judged = row.get("match_success") is not True and rating in (0, 1)
        yield Prediction(
            place=place,
            output=text_of(row, *TEMPCOMPASS_OUTPUTS),
            ids=(f"{task}-{video}-{dimension}-{number}",) if task else (),
            video=video,
            question=text_of(row, "question"),
            group=task,
            judgement=float(rating) if judged and rating is not None else None,
        )


def _leaves(records: Records) -> Iterator[tuple[str, str, int, Row]]:
    """(video, dimension, number, row) of an object of objects of lists."""
    for video, dimensions in (records.tree or {}).items():
        for dimension, rows in dimensions.items() if isinstance(dimensions, Mapping) else ():
            for number, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, Mapping):
                    yield video, dimension, number, row


def _videomme_rows(records: Records, benchmark: Benchmark) -> Rows:
    """The videos are numbered, not named as their files: an id finds a question, or else its text."""
    for place, video, question in _videomme_questions(records):
        response = question.get("response")
        if not isinstance(response, str):
            yield f"{place}: no response"
            continue
        options, number = lettered(question.get("options")), text_of(question, "question_id")
        layout = {
            "problem_id": number,
            "problem": question.get("question"),
            "problem_type": "multiple choice",
            "options": list(options),
            "solution": question.get("answer"),
            "path": text_of(video, "video_id", "url"),
        }
        yield Prediction(
            place=place,
            output=response,
            ids=(number,) if number else (),
            question=text_of(question, "question"),
            options=options,
            item=item_of(layout, {**video, **question}, benchmark, records.path),
        )


def _videomme_questions(records: Records) -> Iterator[tuple[str, Row, Row]]:
    """(place, video, question) of all questions."""
    for place, video in records.rows:
        questions = video.get("questions")
        for number, question in enumerate(questions if isinstance(questions, list) else ()):
            if isinstance(question, Mapping):
                yield f"{place} questions[{number}]", video, question


def _mmvu_rows(records: Records, benchmark: Benchmark) -> Rows:
    for place, row in records.rows:
        response = row.get("response")
        if not isinstance(response, str):
            yield f"{place}: no response"
            continue
        number, correct, video = text_of(row, "id"), row.get("correct"), text_of(row, "video")
        options = () if row.get("question_type") == "open-ended" else lettered(row.get("choices"))
        layout = {
            "problem_id": number,
            "problem": row.get("question"),
            "problem_type": "multiple choice" if options else "free-form",
            "options": list(options),
            "solution": text_of(row, "answer", "ground_truth_answer"),
            "path": video.rpartition("/resolve/main/")[2] or number,
        }
        yield Prediction(
            place=place,
            output=response,
            ids=(number,) if number else (),
            video=video,
            question=text_of(row, "question"),
            options=options,
            judgement=float(correct) if isinstance(correct, bool) else None,
            item=item_of(layout, row, benchmark, records.path),
        )


def _video_r1_rows(records: Records, benchmark: Benchmark) -> Rows:
    for place, row in records.listed("results"):
        output = row.get("output", row.get("prediction"))
        if not isinstance(output, str):
            yield f"{place}: no output"
            continue
        number = text_of(row, "problem_id")
        yield Prediction(
            place=place,
            output=output,
            ids=(number,) if number else (),
            video=text_of(row, "path"),
            question=text_of(row, "problem", "question"),
            options=_texts_of(row.get("options")),
            item=item_of(row, row, benchmark, records.path),
        )


# Those whose rows may hold several answers.
SEVERAL = {"strive": _strive_rows, "lmms-eval": _lmms_eval_rows}
# The first one that fits reads a file.
FORMATS = {
    "strive": Format(
        fits=lambda records: any(
            "sample_id" in row and ("output" in row or "outputs" in row) for _, row in records.rows
        ),
        rows=_strive_rows,
    ),
    "lmms-eval": Format(
        fits=lambda records: any(
            _response(row) is not None and "doc" in row for _, row in records.listed("logs")
        ),
        rows=_lmms_eval_rows,
    ),
    "tempcompass": Format(
        fits=lambda records: any(name in row for *_, row in _leaves(records) for name in TEMPCOMPASS_OUTPUTS),
        rows=_tempcompass_rows,
    ),
    "videomme": Format(
        fits=lambda records: any("response" in question for *_, question in _videomme_questions(records)),
        rows=_videomme_rows,
    ),
    "mmvu": Format(
        fits=lambda records: any({"id", "choices", "response"} <= row.keys() for _, row in records.rows),
        rows=_mmvu_rows,
    ),
    "video-r1": Format(
        fits=lambda records: any(
            ("problem" in row or "solution" in row) and ("output" in row or "prediction" in row)
            for _, row in records.listed("results")
        ),
        rows=_video_r1_rows,
    ),
}
