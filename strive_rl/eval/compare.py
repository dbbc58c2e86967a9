"""`strive-rl compare A B`: two folders of the same scored questions, paired question by question.

The difference is B − A. Its interval is a bootstrap over videos. The sign tests are exact: one over questions
(taken as independent), one over videos. At the end how a folder is read, of `strive-rl score` or an
evaluation, and what its answers depend on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from strive_data.common.files import disk_full_named
from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.benchmarks.formats import FRAME_FIELDS
from strive_rl.benchmarks.items import Benchmark, Convention, Scored, values_of
from strive_rl.benchmarks.rules import BENCHMARKS
from strive_rl.benchmarks.rules.open_answers import CUSTOM
from strive_rl.benchmarks.scoring import ABSENT, Pair, covered_pairs, knowledge_gains, mean_of, shown
from strive_rl.common import jsonl
from strive_rl.common.run_settings import RESULTS_FILE, evaluation_settings, flat
from strive_rl.common.statistics import sign_test
from strive_rl.eval.config import (
    COMPARISON_FILE,
    PAGE_FILE,
    PREDICTIONS_FILE,
    SCORED_FILE,
    UNIFORM,
    CompareSettings,
)
from strive_rl.eval.pages import compare_page

LISTED = 3
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


def compare(
    a: Path, b: Path, *, settings: CompareSettings, common: bool = False, out: Path | None = None
) -> dict[str, Any]:
    """The paired difference B − A, overall and by category; with `out`, also its page and JSON.

    `frames_a` and `frames_b` name the columns, `unlike` what differs beside the model. Raises UsageError for
    folders of other benchmarks, of another treatment of missing answers, and of other questions, unless
    `common` keeps those that both hold.
    """
    for name in (COMPARISON_FILE, RESULTS_FILE):
        if out is not None and (out / name).exists():
            raise UsageError(f"{out} already holds results ({name}): give another --out")
    first, second = _read_both((a, settings.sampler), (b, settings.sampler_b or settings.sampler))
    _require_used(first, second, settings)
    results, pairs = paired_results(first, second, settings=settings, common=common)
    results |= {"frames_a": first.frames, "frames_b": second.frames, "unlike": unlike(first, second)}
    if out is not None:
        with disk_full_named(out):
            out.mkdir(parents=True, exist_ok=True)
            (out / PAGE_FILE).write_text(compare_page(results, pairs), encoding="utf-8")
            jsonl.write_json(out / COMPARISON_FILE, results)
    return results


def _read_both(*wanted: tuple[Path, str | None]) -> list[ScoredFolder]:
    """Both folders, each with its frame sampler. Raises UsageError that names all that cannot be read."""
    found, problems = list[ScoredFolder](), list[str]()
    for folder, sampler in wanted:
        try:
            found.append(read_scored(folder, sampler))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return found


def _require_used(first: ScoredFolder, second: ScoredFolder, settings: CompareSettings) -> None:
    """Raise UsageError for a frame sampler that neither folder it is asked of has."""
    shared = settings.sampler and not settings.sampler_b and second.frames
    problems = [
        f"{folder.path}: got sampler {sampler}, but its scores name no frame sampler; leave it out"
        for sampler, folder in ((settings.sampler, first), (settings.sampler_b, second))
        if sampler and not folder.frames and not shared
    ]
    if problems:
        raise UsageError("\n".join(problems))


def paired_results(
    first: ScoredFolder, second: ScoredFolder, *, settings: CompareSettings, common: bool = False
) -> tuple[dict[str, Any], list[Pair]]:
    """What `compare` says of two folders that are read, and the pairs in the mean."""
    _require_alike(first, second)
    pairs, left_out = paired(first, second, common=common)
    benchmark = BENCHMARKS[first.results["benchmark"]]
    included = pairs
    if first.results["settings"]["missing"] == "exclude":  # Of what is missing on a side neither counts.
        included = [pair for pair in pairs if all(row.status not in ABSENT for row in pair)]
    convention = _convention(benchmark, settings.convention, included)
    pairs = covered_pairs(convention, included)
    if not pairs:
        raise UsageError(
            f"{first.path} and {second.path} have no common question in the mean of {convention.name}"
        )
    results = {
        "title": first.results["title"],
        "benchmark": first.results["benchmark"],
        "a": first.path.as_posix(),
        "b": second.path.as_posix(),
        "convention": convention.name,
        "notes": [*benchmark.notes, *_notes(pairs, left_out, len(included) - len(pairs), convention)],
        "overall": _compared(convention, pairs, settings),
        "readings": {
            c.name: _compared(c, both, settings)
            for c in benchmark.conventions
            if (both := covered_pairs(c, included))
        },
        "sign_test": asdict(sign_test([_gain(pair, convention.name) for pair in pairs])),
        "sign_test_videos": asdict(sign_test(_video_means(pairs, convention.name))),
        "by": _by(first, convention, pairs, settings),
    }
    if benchmark.knowledge is not None:
        results["knowledge"] = knowledge_gains(benchmark, included)
    return results, pairs


def paired(a: ScoredFolder, b: ScoredFolder, *, common: bool) -> tuple[list[Pair], int]:
    """Rows of both by question, in A's order, and how many questions were left out.

    Raises UsageError where questions are in one folder only, or differ in text, options or truth, unless
    `common` is set.
    """
    only_a, only_b = sorted(a.rows.keys() - b.rows.keys()), sorted(b.rows.keys() - a.rows.keys())
    both = [sample_id for sample_id in a.rows if sample_id in b.rows]
    changed = [i for i in both if _asked(a.rows[i]) != _asked(b.rows[i])]
    problems = [
        f"{len(ids)} {what} ({', '.join(ids[:LISTED])}{', …' if len(ids) > LISTED else ''})"
        for ids, what in (
            (only_a, "are in A only"),
            (only_b, "are in B only"),
            (changed, "ask something else"),
        )
        if ids
    ]
    if problems and not common:
        raise UsageError(
            f"{a.path} and {b.path} hold other questions: {'; '.join(problems)}. --common compares the others"
        )
    left_out = len(only_a) + len(only_b) + len(changed)
    return [(a.rows[i], b.rows[i]) for i in both if i not in set(changed)], left_out


def _asked(row: Scored) -> tuple[object, ...]:
    return (row.question, row.options, row.reference, row.status == "unusable")


def _require_alike(a: ScoredFolder, b: ScoredFolder) -> None:
    for name in ("benchmark", "missing"):
        one, other = ({**folder.results["settings"], **folder.results}[name] for folder in (a, b))
        if one != other:
            raise UsageError(f"{a.path} has {name} {one}, {b.path} has {other}: score both alike")


def _convention(benchmark: Benchmark, name: str | None, pairs: Sequence[Pair]) -> Convention:
    """The named one; by default the benchmark's first one that has a pair in its mean."""
    conventions = {c.name: c for c in benchmark.conventions}
    if name:
        return conventions[choose(name, conventions, "convention")]
    covering = (c for c in benchmark.conventions if covered_pairs(c, pairs))
    return next(covering, benchmark.conventions[0])


def _gain(pair: Pair, name: str) -> float:
    return (pair[1].values[name] or 0.0) - (pair[0].values[name] or 0.0)


def _compared(convention: Convention, pairs: Sequence[Pair], settings: CompareSettings) -> dict[str, Any]:
    """Estimates of B − A, A and B over these pairs."""

    name, bootstrap = convention.name, (settings.bootstrap_resamples, settings.seed)

    def made(value: Callable[[Pair], float], *, difference: bool = False) -> dict[str, Any] | None:
        first = [pair[0] for pair in pairs]
        values = [value(pair) for pair in pairs]
        return shown(mean_of(convention, values, first, bootstrap, difference=difference))

    return {
        "difference": made(lambda pair: _gain(pair, name), difference=True),
        "a": made(lambda pair: pair[0].values[name] or 0.0),
        "b": made(lambda pair: pair[1].values[name] or 0.0),
    }


def _video_means(pairs: Sequence[Pair], name: str) -> list[float]:
    gains: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        gains[pair[0].video].append(_gain(pair, name))
    return [sum(values) / len(values) for values in gains.values()]


def _by(
    folder: ScoredFolder, convention: Convention, pairs: Sequence[Pair], settings: CompareSettings
) -> dict[str, Any]:
    by: dict[str, Any] = {}
    for tag, values in folder.results["by"].items():
        parts = {value: [p for p in pairs if value in values_of(p[0].tags, tag)] for value in values}
        by[tag] = {
            value: _compared(convention, part, settings)
            | asdict(sign_test(_gain(pair, convention.name) for pair in part))
            for value, part in parts.items()
            if part
        }
    return by


def _notes(pairs: Sequence[Pair], left_out: int, uncovered: int, convention: Convention) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"left out: {plural(left_out, 'question')} that the two do not hold alike.")
    if uncovered:
        notes.append(
            f"not in the mean of {convention.name} on one side or both: {plural(uncovered, 'question')}."
        )
    waiting = sum(any(row.status == "awaiting judge" for row in pair) for pair in pairs)
    if waiting:
        notes.append(
            f"awaiting a judge on one side or both, and 0 there until then: {plural(waiting, 'question')}."
        )
    return notes


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
    rows = {row["sample_id"]: _scored(row) for row in jsonl.read(folder / SCORED_FILE)}
    held = next((str(row.frames["sampler"]) for row in rows.values() if row.frames.get("sampler")), "")
    if held:
        choose(sampler or held, (held,), f"sampler of {folder}")
    return ScoredFolder(path=folder, results=results, rows=rows, frames=held)


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
    settings = evaluation_settings(results.get("settings", {}))
    known = {name: value for name, value in flat(settings) if name not in NO_MATTER}
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
    rows = {
        line["sample_id"]: Scored(
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
    }
    by = {tag: sorted({row.tags[tag] for row in rows.values()}) for tag in CUSTOM.breakdowns}
    results = {"title": "samples of a build", "benchmark": CUSTOM.name, "by": by}
    results["settings"] = {"missing": "wrong"}
    return ScoredFolder(path=folder, results=results, rows=rows, frames=sampler, made=made_from(made))
