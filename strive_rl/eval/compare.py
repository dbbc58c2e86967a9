"""`strive-rl compare A B`: two folders of scored questions, the same ones, paired question by question.

The difference is B − A. Its interval is a bootstrap over videos; the sign tests are exact, of questions (as
if those of one video were independent) and of videos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.benchmarks.custom import OWN
from strive_rl.benchmarks.item import Convention, Scored
from strive_rl.benchmarks.registry import BENCHMARKS
from strive_rl.benchmarks.scoring import mean_of, shown
from strive_rl.common import jsonl
from strive_rl.common.statistics import sign_test
from strive_rl.data.views import UNIFORM
from strive_rl.eval.page import compare_page
from strive_rl.eval.score import PAGE_FILE, RESULTS_FILE, SCORED_FILE

# Folders of scored questions as `compare` reads them: of `score`, and of both kinds of `eval`.

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
    results = jsonl.read_json(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else {}
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
    return _named(folder, results, [_scored(row) for row in jsonl.read(folder / SCORED_FILE)])


def chosen(folder: Path, held: Mapping[str, Any], sampler: str | None) -> str:
    """The frame sampler that is asked for; without that uniform, or the only one there is."""
    if sampler is None:
        sampler = next(iter(held)) if len(held) == 1 else UNIFORM
    return choose(sampler, held, f"sampler of {folder}")


def _scored(row: Mapping[str, Any]) -> Scored:
    return Scored(**{**row, **{name: tuple(row.get(name, ())) for name in ("options", "outputs")}})


def _of_shards(folder: Path, sampler: str) -> ScoredFolder:
    """The reward's accuracy of each question stands for a benchmark's own score."""
    lines = [line for line in jsonl.read(folder / PREDICTIONS_FILE) if line["sampler"] == sampler]
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


COMPARISON_FILE = "comparison.json"
LISTED = 3
Pair = tuple[Scored, Scored]


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Which convention is compared (None: the benchmark's own), the bootstrap, and under which frame samplers
    evaluations are: A's `sampler` as for `read_scored`, B's `sampler_b`, the same unless given."""

    convention: str | None = None
    sampler: str | None = None
    sampler_b: str | None = None
    bootstrap_resamples: int = 2000
    seed: int = 0


def compare(
    a: Path, b: Path, *, settings: CompareSettings, common: bool = False, out: Path | None = None
) -> dict[str, Any]:
    """The paired difference B − A, overall and by category; with `out`, also its page and JSON.

    Raises UsageError for folders of other benchmarks, of another treatment of missing answers, and of other
    questions, unless `common` keeps those that both hold.
    """
    second_sampler = settings.sampler_b or settings.sampler
    first, second = read_scored(a, settings.sampler), read_scored(b, second_sampler)
    _require_alike(first, second)
    pairs, left_out = paired(first, second, common=common)
    convention = _convention(first, settings.convention)
    pairs = [pair for pair in pairs if all(convention.name in row.values for row in pair)]
    if not pairs:
        raise UsageError(f"{a} and {b} have no question in common that {convention.name} has a rule for")
    pairs = _counted(first, pairs)
    body = _compared(convention, pairs, settings)
    results = {
        "title": first.results["title"],
        "benchmark": first.results["benchmark"],
        "a": first.path.as_posix(),
        "b": second.path.as_posix(),
        "convention": convention.name,
        "notes": [*BENCHMARKS[first.results["benchmark"]].notes, *_notes(pairs, left_out)],
        "overall": {name: body[name] for name in ("difference", "a", "b")},
        "sign_test": asdict(sign_test([_gain(pair, convention.name) for pair in pairs])),
        "sign_test_videos": asdict(sign_test(_video_means(pairs, convention.name))),
        "by": _by(first, convention, pairs, settings),
    }
    if out is not None:
        _write(out, results, pairs)
    return results


def paired(a: ScoredFolder, b: ScoredFolder, *, common: bool) -> tuple[list[Pair], int]:
    """Rows of both by question, in A's order, and how many questions were left out.

    Raises UsageError where the questions differ and `common` is off: which are in one folder only, and which
    have another text, options or truth.
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
    told = [
        {"benchmark": folder.results["benchmark"], "missing": folder.results["settings"]["missing"]}
        for folder in (a, b)
    ]
    for name, ours in told[0].items():
        if ours != told[1][name]:
            raise UsageError(f"{a.path} has {name} {ours}, {b.path} has {told[1][name]}: score both alike")


def _convention(folder: ScoredFolder, name: str | None) -> Convention:
    conventions = {c.name: c for c in BENCHMARKS[folder.results["benchmark"]].conventions}
    return conventions[choose(name, conventions, "convention")] if name else next(iter(conventions.values()))


def _counted(folder: ScoredFolder, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs in the mean: with missing = exclude, those that both answered."""
    if folder.results["settings"]["missing"] == "wrong":
        return list(pairs)
    return [pair for pair in pairs if all(row.status not in ("missing", "unusable") for row in pair)]


def _gain(pair: Pair, name: str) -> float:
    return (pair[1].values[name] or 0.0) - (pair[0].values[name] or 0.0)


def _compared(convention: Convention, pairs: Sequence[Pair], settings: CompareSettings) -> dict[str, Any]:
    """Estimates of B − A, A and B over these pairs."""

    name, bootstrap = convention.name, (settings.bootstrap_resamples, settings.seed)

    def made(value: Callable[[Pair], float]) -> dict[str, Any] | None:
        first = [pair[0] for pair in pairs]
        return shown(mean_of(convention, [value(pair) for pair in pairs], first, bootstrap))

    return {
        "difference": made(lambda pair: _gain(pair, name)),
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
        parts = {value: [pair for pair in pairs if pair[0].tags.get(tag) == value] for value in values}
        by[tag] = {
            value: _compared(convention, part, settings) | _wins(part, convention.name)
            for value, part in parts.items()
            if part
        }
    return by


def _wins(pairs: Sequence[Pair], name: str) -> dict[str, Any]:
    return asdict(sign_test([_gain(pair, name) for pair in pairs]))


def _notes(pairs: Sequence[Pair], left_out: int) -> list[str]:
    notes = []
    if left_out:
        lost = plural(left_out, "question")
        notes.append(f"left out: {lost} that only one of the two holds, or not the same way.")
    waiting = sum(any(row.status == "awaiting judge" for row in pair) for pair in pairs)
    if waiting:
        notes.append(
            f"awaiting a judge on one side or both, and 0 there until then: {plural(waiting, 'question')}."
        )
    return notes


def _write(out: Path, results: dict[str, Any], pairs: Sequence[Pair]) -> None:
    if (out / COMPARISON_FILE).exists():
        raise UsageError(f"{out} already holds a comparison: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE_FILE).write_text(compare_page(results, pairs), encoding="utf-8")
    jsonl.write_json(out / COMPARISON_FILE, results)
