"""A folder → the cases to judge by: QVHighlights as published, or a build with evidence spans.

Of QVHighlights (human-marked moments) two files are read: the truth, and the saliency scores of a trained
model for the same queries. Its clips of 2 seconds are the candidates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from strive_data.common.text import plural
from strive_data.config import SamplerSettings
from strive_data.errors import UsageError
from strive_data.inspect.tables import scan
from strive_data.schema import Floats, Indices, Times
from strive_data.shards.reader import ShardSet
from strive_data.shards.run_file import RUN_FILE, read_run

Moment = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Scores float32 [N] of a video's candidates for a question, and its moments.

    `moments`: half-open ranges of candidates in which the answer can be seen; an empty range is a moment that
    no candidate meets, missed by every sampler. `stored`: the variants of a build, int32 [M, K]. Grouping
    needs `times` [N] in seconds and `embeddings` [N, D], of a build with shard.embeds=true.
    """

    sample_id: str
    video_id: str
    scores: Floats
    moments: tuple[Moment, ...]
    stored: Indices | None = None
    times: Times | None = None
    embeddings: Floats | None = None


TRUTH_FILE, SCORES_FILE = "highlight_val_release.jsonl", "moment_detr_val_preds.jsonl"
CLIP_SECONDS = 2


def read_qvhighlights(folder: Path) -> list[Case]:
    """One case a query, in the order of the scores. Raises UsageError for files that are not as published."""
    truths = {row["qid"]: row for row in _rows(folder / TRUTH_FILE, ("qid", "vid", "relevant_windows"))}
    cases = []
    for row in _rows(folder / SCORES_FILE, ("qid", "pred_saliency_scores")):
        if row["qid"] not in truths:
            raise UsageError(f"{folder / SCORES_FILE}: query {row['qid']} is not in {TRUTH_FILE}")
        truth, scores = truths[row["qid"]], np.array(row["pred_saliency_scores"], dtype=np.float32)
        moments = [(start // CLIP_SECONDS, end // CLIP_SECONDS) for start, end in truth["relevant_windows"]]
        kept = tuple((int(start), min(int(end), len(scores))) for start, end in moments)
        sample_id, video_id = str(truth["qid"]), truth["vid"]
        cases.append(Case(sample_id=sample_id, video_id=video_id, scores=scores, moments=kept))
    return cases


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """What can be judged of a folder: `without` samples have no known evidence and are left out.

    `built`: the sampler settings of a build, whose stored variants the cases carry; None for QVHighlights.
    """

    source: str
    cases: list[Case]
    without: int = 0
    built: SamplerSettings | None = None


def read_cases(folder: Path) -> Cases:
    """Cases of a folder. Raises UsageError where it is neither a QVHighlights folder nor a finished build,
    or where nothing in it has known evidence."""
    if not (folder / RUN_FILE).is_file() and (folder / TRUTH_FILE).is_file():
        return Cases(source="QVHighlights", cases=read_qvhighlights(folder))
    if folder.is_dir() and not (folder / RUN_FILE).is_file():
        raise UsageError(
            f"{folder} has neither {RUN_FILE} (a finished build) nor {TRUTH_FILE} (the QVHighlights folder)"
        )
    return read_build_cases(folder)


def read_build_cases(folder: Path) -> Cases:
    """Cases of a finished build: its own scores and stored variants, its annotation's evidence spans."""
    settings = read_run(folder)["settings"]
    columns = ("sample_id", "video_id", "variants", "evidence_spans")
    samples = scan(folder, "samples").select(columns).collect()
    known = samples.filter(pl.col("evidence_spans").list.len() > 0)
    if known.is_empty():
        raise UsageError(
            f"{folder}: none of its {plural(samples.height, 'sample')} has evidence spans: nothing to judge "
            "by. Build from an annotation whose rows have 'evidence_spans' (as `strive-data synth` writes)"
        )
    frames = (
        scan(folder, "frames")
        .select("sample_id", "time", "score", taken="variants")
        .group_by("sample_id", maintain_order=True)
        .agg("time", "score", "taken")
        .collect()
    )
    rows = known.join(frames, on="sample_id", how="inner", maintain_order="left").iter_rows(named=True)
    embeddings: dict[str, Floats] = {}
    if settings["shard"].get("embeds", False):
        shards = ShardSet.open(folder)
        for sample in map(shards.read, range(len(shards))):
            if sample.embeds is not None:
                embeddings[sample.meta.question.sample_id] = sample.embeds.astype(np.float32)
    cases = [_case_truth(row, embeddings.get(row["sample_id"])) for row in rows]
    built = SamplerSettings(**settings["sampler"])
    return Cases(source=str(folder), cases=cases, without=samples.height - len(cases), built=built)


def moment_of(times_N: Times, start_seconds: float, end_seconds: float) -> Moment:
    """Half-open range of the candidates whose times lie in a span, both ends included."""
    first = np.searchsorted(times_N, start_seconds, side="left")
    return int(first), int(np.searchsorted(times_N, end_seconds, side="right"))


def _case_truth(row: dict[str, Any], embeddings: Floats | None) -> Case:
    times_N = np.array(row["time"])
    stored = [[i for i, taken in enumerate(row["taken"]) if m in taken] for m in range(row["variants"])]
    return Case(
        sample_id=row["sample_id"],
        video_id=row["video_id"],
        scores=np.array(row["score"], dtype=np.float32),
        moments=tuple(moment_of(times_N, start, end) for start, end in row["evidence_spans"]),
        stored=np.array(stored, dtype=np.int32),
        times=times_N,
        embeddings=embeddings,
    )
