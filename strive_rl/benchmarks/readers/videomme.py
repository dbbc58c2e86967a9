"""VideoMME's submission layout: a list of videos, each with its `questions` and their `response`.

The videos are numbered, not named as their files: questions are found by `question_id`, else by their text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from strive_rl.benchmarks.item import Benchmark, text_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records, item_of, lettered

NAME = "videomme"
RESPONSE = "response"


def fits(records: Records) -> bool:
    """Whether a row is a video whose questions have a response."""
    return any(RESPONSE in question for _, _, question in _questions(records))


def read(records: Records, benchmark: Benchmark) -> PredictionFile:
    """All its predictions, each with its question; a question without a response is a bad row."""
    bad, predictions = list(records.bad), []
    for place, video, question in _questions(records):
        response = question.get(RESPONSE)
        if not isinstance(response, str):
            bad.append(f"{place}: no {RESPONSE}")
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
        predictions.append(
            Prediction(
                place=place,
                output=response,
                ids=(number,) if number else (),
                question=text_of(question, "question"),
                options=options,
                item=item_of(layout, {**video, **question}, benchmark, records.path),
            )
        )
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _questions(records: Records) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(place, video, question) of all questions."""
    for place, video in records.rows:
        questions = video.get("questions")
        for number, question in enumerate(questions if isinstance(questions, list) else ()):
            if isinstance(question, Mapping):
                yield f"{place} questions[{number}]", video, question
