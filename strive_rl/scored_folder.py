"""Folders of scored questions as `compare` reads them: of `score`, and of both kinds of `eval`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.errors import UsageError
from strive_data.settings import choose
from strive_rl import journal
from strive_rl.benchmarks.item import Scored
from strive_rl.benchmarks.own import OWN
from strive_rl.score import RESULTS_FILE, SCORED_FILE
from strive_rl.views import UNIFORM

PREDICTIONS_FILE = "predictions.jsonl"


@dataclass(frozen=True, kw_only=True)
class ScoredFolder:
    """Scored questions by sample id, and what results.json says of them."""

    path: Path
    results: Mapping[str, Any]
    rows: Mapping[str, Scored]


def read_scored(folder: Path, sampler: str | None = None) -> ScoredFolder:
    """A finished folder; of an evaluation the column of one frame sampler, uniform unless named.

    Other systems' scores have no sampler. Raises UsageError where it is no such folder, or holds another one.
    """
    results = journal.read_json(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else {}
    if "columns" in results:
        return read_scored(folder / chosen(folder, results["columns"], sampler))
    if "samplers" in results and (folder / PREDICTIONS_FILE).is_file():
        return _of_shards(folder, chosen(folder, results["samplers"], sampler))
    if not results or not (folder / SCORED_FILE).is_file():
        raise UsageError(
            f"{folder}: no finished folder of `strive-rl score` or `eval` (no {RESULTS_FILE} or no "
            f"{SCORED_FILE})"
        )
    held = results["settings"].get("sampler")
    if sampler is not None and held is not None and held != sampler:
        raise UsageError(f"{folder}: it was scored for the sampler {held}, asked {sampler}")
    return _named(folder, results, [_scored(row) for row in journal.read(folder / SCORED_FILE)])


def chosen(folder: Path, held: Mapping[str, Any], sampler: str | None) -> str:
    """The frame sampler that is asked for; without that uniform, or the only one there is."""
    if sampler is None:
        sampler = next(iter(held)) if len(held) == 1 else UNIFORM
    return choose(sampler, held, f"sampler of {folder}")


def _scored(row: Mapping[str, Any]) -> Scored:
    return Scored(**{**row, **{name: tuple(row.get(name, ())) for name in ("options", "outputs")}})


def _of_shards(folder: Path, sampler: str) -> ScoredFolder:
    """The reward's accuracy of each question stands for a benchmark's own score."""
    lines = [line for line in journal.read(folder / PREDICTIONS_FILE) if line["sampler"] == sampler]
    rows = [
        Scored(
            sample_id=line["sample_id"],
            video=line["video_id"],
            status="scored",
            question=line.get("question", ""),
            options=tuple(line.get("options", ())),
            reference=line["answer"],
            tags={"source": line["source"], "question type": line["problem_type"]},
            output=line["output"],
            extracted=line["extracted"],
            values={OWN.conventions[0].name: line["accuracy"]},
            frames={"sampler": sampler, "times": line["times"]},
        )
        for line in lines
    ]
    by = {tag: sorted({row.tags[tag] for row in rows}) for tag in OWN.breakdowns}
    told = {"title": "samples of a build", "benchmark": OWN.name, "settings": {"missing": "wrong"}, "by": by}
    return _named(folder, told, rows)


def _named(folder: Path, results: Mapping[str, Any], rows: list[Scored]) -> ScoredFolder:
    return ScoredFolder(path=folder, results=results, rows={row.sample_id: row for row in rows})
