"""lmms-eval's samples file (`--log_samples`): a line a question, or the `logs` of its older results file.

`doc` is the row of the data set, under the field names of each benchmark. The raw `resps` are read before
`filtered_resps`, from which a filter may have removed the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strive_rl.benchmarks.item import Benchmark, text_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records, lettered

NAME = "lmms-eval"
LOGS = "logs"
VIDEO_FIELDS = (
    "videoID",
    "video_name",
    "scene_name",
    "video_path",
    "video",
    "path",
    "video_id",
    "video ID",
    "id",
)
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


def fits(records: Records) -> bool:
    """Whether a row has a `doc` and responses."""
    return any(_responses(row) is not None and "doc" in row for _, row in records.listed(LOGS))


def read(records: Records, benchmark: Benchmark | None = None) -> PredictionFile:
    """All its predictions; a row without a `doc` or a response is a bad one."""
    bad, predictions = list(records.bad), []
    for place, row in records.listed(LOGS):
        doc, output = row.get("doc"), _responses(row)
        if not isinstance(doc, Mapping) or output is None:
            bad.append(f"{place}: no doc or no response")
            continue
        predictions.append(_prediction(place, doc, output, _group(records, row)))
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _responses(row: Mapping[str, Any]) -> str | None:
    """The first response, in lists of any depth."""
    for name in ("resps", "filtered_resps"):
        value = row.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            return value
    return None


def _prediction(place: str, doc: Mapping[str, Any], output: str, group: str) -> Prediction:
    return Prediction(
        place=place,
        output=output,
        ids=_ids(doc, group),
        video=text_of(doc, *VIDEO_FIELDS),
        question=text_of(doc, "question", "problem", "Question"),
        options=lettered(next((doc[name] for name in OPTION_FIELDS if doc.get(name)), None)),
        group=group,
    )


def _ids(doc: Mapping[str, Any], group: str) -> tuple[str, ...]:
    question, own, name = (
        text_of(doc, "question_id"),
        text_of(doc, "id", "problem_id"),
        text_of(doc, "video_name"),
    )
    found = [f"{group}-{own}" if group and own else "", f"{name}-{question}" if name and question else ""]
    return tuple(i for i in (*found, "" if name else question, "" if group else own) if i)


def _group(records: Records, row: Mapping[str, Any]) -> str:
    task = f"{records.path.stem} {row.get('task_name', '')}".casefold().replace("perceptiontest", "")
    return next((value for word, value in GROUPS.items() if word in task), "")
