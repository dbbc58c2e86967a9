"""Results as plain tables for the terminal: of shards, of a benchmark, of a comparison. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from strive_data.common.text import plural
from strive_rl.eval.config import EQUAL_SCORES, UNIFORM

Results = Mapping[str, Any]

# Fits 80 columns. "evidence" is the accuracy where the frames showed the evidence, "no evidence" where not.
HEADER = ("frames", "accuracy", "95 % interval", "questions", "evidence", "no evidence", "format")
MOST_VALUES = 12  # a breakdown of more values is in results.json and on the page only
VOTE_HEADER = ("column", "accuracy", "95 % interval", "agreed", "prompts", "frames", "seconds")  # Fits, too.
AT_INFERENCE = "of the same model, at inference: not a gain of training"
NOT_TRAINING = "of the same model, by the choice of frames alone: not a gain of training"


def even_note(sampler: str, sources: Iterable[str]) -> list[str]:
    """A note where the origin of some frames (`evaluation_views`) says that only their times were known,
    though the sampler reads scores."""
    even = any(s.endswith(EQUAL_SCORES) and not s.startswith(f"{UNIFORM},") for s in sources)
    said = "are spread by time alone: all scores of a video are equal, as with --scorer flat."
    return [f"{sampler} frames {said}"] if even else []


def results_table(results: Results) -> str:
    """Accuracy on shards by frame sampler in per cent, with intervals; below it the gain over a baseline."""
    rows = [HEADER]
    for sampler, summary in results["samplers"].items():
        accuracy = summary["accuracy"]
        rows.append(
            (
                _short(sampler, results["samplers"]),
                mean(accuracy),
                interval(accuracy),
                str(accuracy["questions"]) if accuracy else "0",
                _with_count(summary["evidence_seen"]),
                _with_count(summary["evidence_missed"]),
                "-" if summary["format"] is None else f"{100 * summary['format']:.1f}",
            )
        )
    lines = aligned(rows)
    for sampler, summary in results["samplers"].items():
        lines += [f"note: {note}" for note in even_note(sampler, summary.get("frames_from", ()))]
        if found := summary.get("grounding"):
            shown = ", ".join(f"{name} {100 * found[name]:.1f}" for name in found if name != "answers")
            lines.append(
                f"temporal grounding, {sampler} frames: {shown}, {plural(found['answers'], 'answer')}"
            )
    lines += vote_lines(results, {name: each["accuracy"] for name, each in results["samplers"].items()})
    if gains := results.get("vote_gains"):
        lines.append(f"vote − control, {AT_INFERENCE}:")
        for column, gain in gains.items():
            lines += _gain_line(f"  {column}", gain)
    for sampler, gain in results.get("gain", {}).items():
        lines += _gain_line(f"gain, {sampler} frames", gain)
    if results["dropped"]:
        lines.append(f"dropped: {plural(len(results['dropped']), 'prompt')}, see results.json")
    return "\n".join(lines)


def _short(name: str, names: Collection[str]) -> str:
    """The name of a column; that of a control without its sampler, which stands above it."""
    sampler, _, control = name.rpartition("-")
    return f"  {control}" if sampler in names else name


def _gain_line(label: str, gain: Results | None) -> Iterator[str]:
    if gain:
        shown = f"{points(gain, 1)} points, 95 % interval {interval(gain, '+')}"
        yield f"{label}: {shown}, {plural(gain['questions'], 'question')}"


def vote_lines(results: Results, accuracies: Mapping[str, Results | None]) -> Iterator[str]:
    """The columns of a vote and its controls side by side: accuracy, and what was read for it."""
    if votes := results.get("votes"):
        rows: list[tuple[str, ...]] = [VOTE_HEADER]
        for name, cost in votes.items():
            counts = (f"{cost[each]:,}" for each in ("prompts", "frames"))
            agreement = "-" if cost["agreement"] is None else f"{100 * cost['agreement']:.1f}"
            accuracy = (mean(accuracies[name]), interval(accuracies[name]), agreement)
            rows.append((_short(name, votes), *accuracy, *counts, f"{cost['seconds']:.1f}"))
        yield from aligned(rows)
        yield from (
            f"{name}: {cost['way']}, {plural(cost['completions'], 'completion', ',')}"
            for name, cost in votes.items()
        )
        for name, cost in votes.items():
            views = cost.get("views", cost["prompts"])  # Older results do not count them.
            if views < cost["prompts"]:
                yield (
                    f"{name}: {views:,} of {cost['prompts']:,} views differ, the others repeat them: "
                    "ask for fewer variants, or more candidates"
                )


def benchmark_table(results: Results) -> str:
    """A table for each frame sampler, then the gains over uniform frames and over a baseline."""
    return "\n".join(_benchmark_lines(results))


def _benchmark_lines(results: Results) -> Iterator[str]:
    for sampler, column in results["columns"].items():
        yield f"{sampler} frames"
        yield score_table(column)
    leads = {
        name: column["overall"][next(iter(column["conventions"]))]
        for name, column in results["columns"].items()
    }
    yield from vote_lines(results, leads)
    for column, gain in results.get("vote_gains", {}).items():
        yield f"vote − {column}, {AT_INFERENCE}"
        yield compare_table(gain)
    for sampler, gain in results["gains"].items():
        yield f"{sampler} − uniform frames, {NOT_TRAINING}"
        yield compare_table(gain)
    for sampler, gain in results.get("baseline", {}).items():
        yield f"this − baseline, {sampler} frames"
        yield compare_table(gain)
    if results["failures"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in results["failures"].items())
        became = "count as wrong" if results["missing"] == "wrong" else "are left out of the mean"
        yield f"questions without an answer: {kinds} (failures.jsonl); they {became}"


def score_table(results: Results) -> str:
    """Total and categories in per cent with 95 % intervals, the conventions side by side; notes below."""
    names = list(results["conventions"])
    header = ("", names[0], "95 % interval", *names[1:], "questions", "videos")
    rows = [header, _score_row(results["title"], results["overall"], names)]
    for tag, values in _short_breakdowns(results):
        rows.append((f"by {tag}", *[""] * (len(header) - 1)))
        rows += [_score_row(f"  {value}", part, names) for value, part in values.items()]
    notes = [f"note: {note}" for note in results["notes"]]
    return "\n".join([*_stripped(rows), *judge_lines(results), *notes])


def _score_row(label: str, part: Results, names: Sequence[str]) -> tuple[str, ...]:
    lead = part[names[0]]
    counts = (str(lead["questions"]), str(lead["videos"])) if lead else ("0", "0")
    return (label, mean(lead, 2), interval(lead), *(mean(part[name], 2) for name in names[1:]), *counts)


def compare_heading(results: Results) -> str:
    """The two folders with the frames that are compared, and a warning for what makes them unlike."""
    lines = [f"{side.upper()}: {compared_name(results, side)}" for side in ("a", "b")]
    lines += [f"warning: A and B differ in more than the model: {line}" for line in results["unlike"]]
    return "\n".join(lines)


def compared_name(results: Results, side: str) -> str:
    """The folder of one side, with its frame sampler where it is an evaluation's."""
    frames = results[f"frames_{side}"]
    return f"{results[side]}, {frames} frames" if frames else str(results[side])


def compare_table(results: Results) -> str:
    """B − A in points with 95 % intervals, overall and by category; other readings, sign tests, notes."""
    header = ("B − A", "points", "95 % interval", "A", "B", "won", "lost", "questions")
    rows = [header, _compared_row(results["title"], results["overall"] | results["sign_test"])]
    for name, part in results["readings"].items():
        if name != results["convention"]:
            rows.append(_compared_row(f"  {name}", part))
    for tag, values in _short_breakdowns(results):
        rows.append((f"by {tag}", *[""] * (len(header) - 1)))
        rows += [_compared_row(f"  {value}", part) for value, part in values.items()]
    questions, videos = results["sign_test"], results["sign_test_videos"]
    return "\n".join(
        [
            *_stripped(rows),
            f"sign test over questions, taken as independent: {_sign(questions)}",
            f"sign test over videos: {_sign(videos)}",
            *filter(None, [knowledge_line(results)]),
            *(f"note: {note}" for note in results["notes"]),
        ]
    )


def _sign(test: Results) -> str:
    return f"p = {test['p']:.3g} ({test['won']} won, {test['lost']} lost, {test['tied']} tied)"


def _compared_row(label: str, part: Results) -> tuple[str, ...]:
    difference = part["difference"]
    return (
        label,
        points(difference, 2),
        interval(difference, "+"),
        mean(part["a"], 2),
        mean(part["b"], 2),
        str(part.get("won", "")),
        str(part.get("lost", "")),
        str(difference["questions"]),
    )


def readings(results: Results) -> list[str]:
    """The conventions that a page leads with: all with a total, but Video-R1's, which tables show."""
    known = [name for name in results["conventions"] if name != "video_r1" and results["overall"][name]]
    return known or list(results["conventions"])[:1]


def judge_lines(results: Results) -> Iterator[str]:
    """By convention, how many answers the rules do not decide, and the totals without a judge."""
    for name, judge in results.get("judge", {}).items():
        yield (
            f"{name}: rules do not decide {plural(judge['asked'], 'answer')} ({100 * judge['share']:.1f} %): "
            f"{judge['judged']} judged, {judge['awaiting']} await a judge and count 0 until then; without a "
            f"judge {mean(judge['rules_only'], 2)} with them as 0, "
            f"{mean(judge['decided_by_rules'], 2)} without them"
        )


def knowledge_line(results: Results) -> str:
    """What A → B taught (VideoMMMU), "" for other benchmarks."""
    if not (gains := results.get("knowledge")):
        return ""
    parts = [
        f"{name}: Δknowledge {_per_cent(gain['delta'], '+')} %, wrong → right "
        f"{_per_cent(gain['wrong_to_right'])} %, right → wrong {_per_cent(gain['right_to_wrong'])} %"
        for name, gain in gains.items()
    ]
    return "; ".join(parts)


def _per_cent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.1f}"


def _short_breakdowns(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those that fit on a screen and have more than one value."""
    for tag, values in results["by"].items():
        if 1 < len(values) <= MOST_VALUES:
            yield tag, values


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns of one width, the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _stripped(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    return (line.rstrip() for line in aligned(rows))


def mean(estimate: Results | None, decimals: int = 1) -> str:
    """An estimate's mean in per cent."""
    return "-" if estimate is None else f"{100 * estimate['mean']:.{decimals}f}"


def points(difference: Results, decimals: int) -> str:
    """A difference in points, with its sign."""
    return f"{100 * difference['mean']:+.{decimals}f}"


def interval(estimate: Results | None, sign: str = "") -> str:
    """An estimate's interval in per cent; one video gives none."""
    if estimate is None:
        return "-"
    if estimate["low"] is None:
        return "too few"
    return f"{100 * estimate['low']:{sign}.1f} to {100 * estimate['high']:{sign}.1f}"


def _with_count(estimate: Results | None) -> str:
    return "-" if estimate is None else f"{mean(estimate)} ({estimate['questions']})"
