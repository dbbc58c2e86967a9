"""QVHighlights: human-marked moments, and a trained model's saliency scores for the same queries.

A folder with `highlight_val_release.jsonl` (truth) and `moment_detr_val_preds.jsonl` (scores), as published.
Candidates are its clips of 2 seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from strive_data.errors import UsageError
from strive_data.judge.case import Case

TRUTH_FILE, SCORES_FILE = "highlight_val_release.jsonl", "moment_detr_val_preds.jsonl"
CLIP_SECONDS = 2


def read_qvhighlights(folder: Path) -> list[Case]:
    """One case a query, in the order of the scores. Raises UsageError for files that are not as published."""
    truths = {row["qid"]: row for row in _rows(folder / TRUTH_FILE, ("qid", "vid", "relevant_windows"))}
    cases = []
    for row in _rows(folder / SCORES_FILE, ("qid", "pred_saliency_scores")):
        if row["qid"] not in truths:
            raise UsageError(f"{folder / SCORES_FILE}: query {row['qid']} is not in {TRUTH_FILE}")
        cases.append(_case(row["pred_saliency_scores"], truths[row["qid"]]))
    return cases


def _case(scores: list[float], truth: dict[str, Any]) -> Case:
    moments = [(start // CLIP_SECONDS, end // CLIP_SECONDS) for start, end in truth["relevant_windows"]]
    return Case(
        sample_id=str(truth["qid"]),
        video_id=truth["vid"],
        scores=np.array(scores, dtype=np.float32),
        moments=tuple((int(start), min(int(end), len(scores))) for start, end in moments),
    )


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}, line {number}: not JSON: {error}") from error
        missing = [name for name in needed if name not in row]
        if missing:
            raise UsageError(f"{path}, line {number}: no {missing[0]!r}; expected {', '.join(needed)}")
        yield row
