"""A folder of scored questions, of `strive-rl score` or an evaluation, and what its answers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strive_data.common.settings import as_dict, choose
from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.benchmarks.formats import FRAME_FIELDS
from strive_rl.benchmarks.item import Scored
from strive_rl.benchmarks.rules.open_answers import CUSTOM
from strive_rl.benchmarks.scoring import summarise
from strive_rl.common import jsonl
from strive_rl.common.run_settings import SETTINGS_FILE, flat, require_finished, run_identity
from strive_rl.eval.config import (
    PREDICTIONS_FILE,
    PROGRESS_FILE,
    RESULTS_FILE,
    SCORED_FILE,
    UNIFORM,
    EvalSettings,
)
from strive_rl.eval.page import score_page
from strive_rl.eval.table import even_note

DEFAULT = "the default"
# Settings that change how an evaluation runs, or which columns it has, and no answer of a column.
NO_MATTER = frozenset(
    {
        *("samplers", "controls", "seed", "bootstrap_resamples", "missing"),
        *("gpu_memory_utilization", "tensor_parallel_size", "sleep"),
        *("policy.device", "policy.cuda_graphs", "policy.prompts_per_pass", "policy.groups_per_pass"),
        *("policy.logits_chunk_tokens", "policy.gradient_checkpointing", "policy.train_vision"),
        *("policy.lora_rank", "policy.lora_scale"),
    }
)


@dataclass(frozen=True, kw_only=True)
class ScoredFolder:
    """Scored questions by sample id, and what results.json says of them.

    `frames` names the column of an evaluation; `made` is what its answers depend on beside the model and the
    column, by name: the build and settings. Both are empty where unknown, as of outputs of other systems.
    """

    path: Path
    results: Mapping[str, Any]
    rows: Mapping[str, Scored]
    frames: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)


def read_scored(folder: Path, sampler: str | None = None) -> ScoredFolder:
    """A finished folder; of an evaluation the column of one frame sampler, by default uniform.

    Scores of other systems have no sampler. Raises UsageError for another folder and another sampler.
    """
    results = jsonl.read_json(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else {}
    if "columns" in results:
        column = chosen(folder, results["columns"], sampler)
        return replace(read_scored(folder / column), frames=column, made=made_from(results))
    if "samplers" in results and (folder / PREDICTIONS_FILE).is_file():
        return _of_shards(folder, results, chosen(folder, results["samplers"], sampler))
    if not results or not (folder / SCORED_FILE).is_file():
        raise UsageError(
            f"{folder}: no finished folder of `strive-rl score` or `eval` (no {RESULTS_FILE} or no "
            f"{SCORED_FILE})"
        )
    rows = [_scored(row) for row in jsonl.read(folder / SCORED_FILE)]
    held = next((str(row.frames["sampler"]) for row in rows if row.frames.get("sampler")), "")
    if held:
        choose(sampler or held, (held,), f"sampler of {folder}")
    return replace(_named(folder, results, rows), frames=held)


def chosen(folder: Path, held: Mapping[str, Any], sampler: str | None) -> str:
    """The named frame sampler; by default uniform, or the only one there is."""
    if sampler is None:
        sampler = next(iter(held)) if len(held) == 1 else UNIFORM
    return choose(sampler, held, f"sampler of {folder}")


def _scored(row: Mapping[str, Any]) -> Scored:
    tuples = {name: tuple(row.get(name, ())) for name in ("options", "outputs", "left_out", "by_judge")}
    return Scored(**{**row, **tuples})


def made_from(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the answers of an evaluation depend on, beside its model and the frames of a column."""
    known = {name: value for name, value in flat(results.get("settings", {})) if name not in NO_MATTER}
    build = {"build": f"{results['shards']} ({results['shards_fingerprint']})"} if "shards" in results else {}
    return build | known


def unlike(a: ScoredFolder, b: ScoredFolder) -> list[str]:
    """A line for each thing beside the model in which the two were made differently, as far as both say."""
    first, second = ({**_of_any(each), **each.made} for each in (a, b))
    names = list(first | second) if a.made and b.made else [name for name in first if name in second]
    return [
        f"{name}: {first.get(name, DEFAULT)} in A, {second.get(name, DEFAULT)} in B"
        for name in names
        if first.get(name) != second.get(name)
    ]


def _of_any(folder: ScoredFolder) -> dict[str, Any]:
    """What the rows and the scoring say themselves."""
    times = [row.frames.get("times") for row in folder.rows.values()]
    counts = [len(each) for each in times if isinstance(each, list) and each]
    return {
        **({"frames": folder.frames} if folder.frames else {}),
        **({"frames of a question": max(counts)} if counts else {}),
        "vote": folder.results["settings"].get("vote", False),
    }


def _of_shards(folder: Path, made: Mapping[str, Any], sampler: str) -> ScoredFolder:
    """Questions of a build: their value is the reward's accuracy."""
    lines = [line for line in jsonl.read(folder / PREDICTIONS_FILE) if line["sampler"] == sampler]
    rows = [
        Scored(
            sample_id=line["sample_id"],
            video=line["video_id"],
            status="scored",
            question=line.get("question", ""),
            options=tuple(line.get("options", ())),
            reference=line["answer"],
            tags={
                "video": str(line.get("video", line["video_id"])),
                "source": line["source"],
                "question type": line["problem_type"],
            },
            output=line["output"],
            extracted={CUSTOM.conventions[0].name: line["extracted"]},
            values={CUSTOM.conventions[0].name: line["accuracy"]},
            frames={name: line[name] for name in FRAME_FIELDS if name in line},
        )
        for line in lines
    ]
    by = {tag: sorted({row.tags[tag] for row in rows}) for tag in CUSTOM.breakdowns}
    results = {"title": "samples of a build", "benchmark": CUSTOM.name, "by": by}
    named = _named(folder, results | {"settings": {"missing": "wrong"}}, rows)
    return replace(named, frames=sampler, made=made_from(made))


def require_evaluation(out: Path, *, shards: ShardSet, model: str, settings: EvalSettings) -> None:
    """Raise UsageError where `out` holds a run, or an evaluation of other settings, model or shards, finished
    or not, and name the difference."""
    finished = (out / RESULTS_FILE).is_file()
    before = [jsonl.read_json(out / RESULTS_FILE)] if finished else jsonl.read(out / PROGRESS_FILE)[:1]
    if before:
        now = run_identity(as_dict(settings), model=model, shards=shards)
        named = {name: now[name] for name in ("settings", "model", "shards_fingerprint")}
        require_finished(before[0], named, out)
    elif (out / SETTINGS_FILE).exists():
        raise UsageError(
            f"{out} holds a run of training, or an evaluation on a benchmark: give another --out"
        )


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
        results |= summarise(CUSTOM, rows, missing="wrong", **bootstrap)
        pages.append(folder / f"page-{column.name}.html")
        pages[-1].write_text(score_page(results, rows), encoding="utf-8")
    return pages


def _named(folder: Path, results: Mapping[str, Any], rows: list[Scored]) -> ScoredFolder:
    return ScoredFolder(path=folder, results=results, rows={row.sample_id: row for row in rows})
