"""`strive-rl compare A B`: two folders of the same scored questions, paired question by question.

The difference is B − A. Its interval is a bootstrap over videos. The sign tests are exact: one over questions
(taken as independent), one over videos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark, Convention, Scored, values_of
from strive_rl.benchmarks.rules import BENCHMARKS
from strive_rl.benchmarks.scoring import covered, mean_of, shown
from strive_rl.common import jsonl
from strive_rl.common.statistics import sign_test
from strive_rl.eval.config import COMPARISON_FILE, PAGE_FILE, RESULTS_FILE
from strive_rl.eval.page import compare_page
from strive_rl.eval.scored_folder import ScoredFolder, read_scored, unlike

LISTED = 3
Pair = tuple[Scored, Scored]


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """The convention to compare (None: the benchmark's first), the frame sampler of each evaluation
    (`sampler_b` None: the same as A's), and the bootstrap."""

    convention: str | None = None
    sampler: str | None = None
    sampler_b: str | None = None
    bootstrap_resamples: int = 2000
    seed: int = 0


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
        _write(out, results, pairs)
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
    included = _included(first, pairs)
    convention = _convention(benchmark, settings.convention, included)
    pairs = _covered(convention, included)
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
            if (both := _covered(c, included))
        },
        "sign_test": asdict(sign_test([_gain(pair, convention.name) for pair in pairs])),
        "sign_test_videos": asdict(sign_test(_video_means(pairs, convention.name))),
        "by": _by(first, convention, pairs, settings),
    }
    if benchmark.knowledge is not None:
        results["knowledge"] = _knowledge(benchmark, included)
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
    first, second = (
        {"benchmark": folder.results["benchmark"], "missing": folder.results["settings"]["missing"]}
        for folder in (a, b)
    )
    for name, value in first.items():
        if value != second[name]:
            raise UsageError(f"{a.path} has {name} {value}, {b.path} has {second[name]}: score both alike")


def _convention(benchmark: Benchmark, name: str | None, pairs: Sequence[Pair]) -> Convention:
    """The named one; by default the benchmark's first one that has a pair in its mean."""
    conventions = {c.name: c for c in benchmark.conventions}
    if name:
        return conventions[choose(name, conventions, "convention")]
    covering = (c for c in benchmark.conventions if _covered(c, pairs))
    return next(covering, benchmark.conventions[0])


def _covered(convention: Convention, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of which both belong to the convention's mean."""
    first, second = (
        {row.sample_id for row in covered(convention, [pair[side] for pair in pairs])} for side in (0, 1)
    )
    shared = first & second
    return [pair for pair in pairs if pair[0].sample_id in shared]


def _included(folder: ScoredFolder, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs in the mean: with missing = exclude, those that both answered."""
    if folder.results["settings"]["missing"] == "wrong":
        return list(pairs)
    return [pair for pair in pairs if all(row.status not in ("missing", "unusable") for row in pair)]


def _gain(pair: Pair, name: str) -> float:
    return (pair[1].values[name] or 0.0) - (pair[0].values[name] or 0.0)


def _knowledge(benchmark: Benchmark, pairs: Sequence[Pair]) -> dict[str, dict[str, float | None]]:
    """By convention, what B knows that A did not (A without the video, B with it), on the benchmark's track.

    Δ = (B − A) / (1 − A) of the accuracies; wrong → right as a share of what A had wrong, right → wrong of
    what A had right. An answer that a convention leaves out is not right.
    """
    tag, value = benchmark.knowledge or ("", "")
    track = [pair for pair in pairs if pair[0].tags.get(tag) == value]
    gains: dict[str, dict[str, float | None]] = {}
    for convention in benchmark.conventions:
        both = _covered(convention, track)
        right = [tuple(row.values.get(convention.name) == 1 for row in pair) for pair in track]
        if not both:
            continue
        before, after = (
            sum(pair[side].values[convention.name] or 0.0 for pair in both) / len(both) for side in (0, 1)
        )
        gains[convention.name] = {
            "before": before,
            "after": after,
            "delta": (after - before) / (1 - before) if before < 1 else None,
            "wrong_to_right": _share(second for first, second in right if not first),
            "right_to_wrong": _share(not second for first, second in right if first),
        }
    return gains


def _share(flags: Iterable[bool]) -> float | None:
    known = list(flags)
    return sum(known) / len(known) if known else None


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
            value: _compared(convention, part, settings) | _wins(part, convention.name)
            for value, part in parts.items()
            if part
        }
    return by


def _wins(pairs: Sequence[Pair], name: str) -> dict[str, Any]:
    return asdict(sign_test([_gain(pair, name) for pair in pairs]))


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


def _write(out: Path, results: dict[str, Any], pairs: Sequence[Pair]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE_FILE).write_text(compare_page(results, pairs), encoding="utf-8")
    jsonl.write_json(out / COMPARISON_FILE, results)
