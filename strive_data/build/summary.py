"""What a build tells its user: when too much fails, what looks wrong, and its closing lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from strive_data.annotations.read import Annotations, Reading
from strive_data.common.text import counted_samples, nearest, plural, some
from strive_data.config import FailureSettings, ScoreSettings
from strive_data.errors import FailureKind, StriveError
from strive_data.schema import FailedRow
from strive_data.shards.manifest import CHOSEN_REPORT_FILE, REPORT_FILE
from strive_data.shards.run_file import PASS_RATES_FILE

ADVICE = {
    FailureKind.MISSING: "check that --data-root is the folder that the video paths start from",
    FailureKind.TIMEOUT: "check the speed of the storage, or raise decode.timeout_seconds",
    FailureKind.OOM: "raise decode.memory_bytes or decode.max_source_pixels, or free memory",
}

NEXT_STEPS = (
    "  finished shards are kept: remove the cause and start the same command again "
    "(--retry-failed: also rows that failed when tried), or raise the limit (--set {limit})"
)


class TooManyFailuresError(StriveError):
    """More rows failed than the settings allow; the message counts them by kind."""


class FailureLimits:
    """Counts the rows tried and failed since the start of the command, with an example of each kind."""

    def __init__(self, limits: FailureSettings) -> None:
        self._limits = limits
        self._tried = 0
        self._kinds: Counter[FailureKind] = Counter()
        self._examples: dict[FailureKind, FailedRow] = {}

    def add(self, tried: int, failures: Sequence[FailedRow]) -> None:
        """Count `tried` rows, of which these failed. Raises TooManyFailuresError at the limit."""
        self._tried += tried
        for failure in failures:
            self._kinds[failure.kind] += 1
            self._examples.setdefault(failure.kind, failure)
        if failures and (reason := stop_reason(self._tried, self._kinds.total(), self._limits)):
            lines = _by_kind(self._kinds, self._examples)
            # Both limits may apply; a max_count of 0 is no limit.
            limit = "failures.max_share=1" + " --set failures.max_count=0" * bool(self._limits.max_count)
            raise TooManyFailuresError("\n".join([reason, *lines, NEXT_STEPS.format(limit=limit)]))


def failure_lines(failures: Sequence[FailedRow]) -> list[str]:
    """A line for each kind with an example, the most frequent first, and advice for the most frequent one."""
    examples = {failure.kind: failure for failure in reversed(failures)}
    return _by_kind(Counter(failure.kind for failure in failures), examples)


# Names of the demo's videos (demo/draw.py).
DEMO_VIDEO = re.compile(r"(?:.*/)?world\d+-\d{4,}\.mp4")


def scorer_warnings(settings: ScoreSettings, rows: Annotations) -> tuple[str, ...]:
    """What a build says of its scorer before it begins: the demo's has seen rendered shapes alone."""
    scorers = (settings.scorer, *((settings.cascade_first,) if settings.scorer == "cascade" else ()))
    if not {"demo", "demo-noisy"} & set(scorers):
        return ()
    others = sum(not DEMO_VIDEO.fullmatch(question.video) for _, question in rows.questions)
    warning = (
        f"warning: {plural(others, 'question')} on videos other than the demo's: --scorer demo knows only "
        "rendered shapes, and scores of other frames mean nothing; use --scorer clip, or flat for none"
    )
    return (warning,) if others else ()


def stop_reason(tried: int, failed: int, limits: FailureSettings) -> str | None:
    """Why the build has to stop, or None if the limits are kept."""
    what = f"stopped: {failed} of {plural(tried, 'row')} failed, failures"
    if limits.max_count and failed > limits.max_count:
        return f"{what}.max_count is {limits.max_count}"
    if tried >= limits.min_rows and failed > limits.max_share * tried:
        return f"{what}.max_share is {limits.max_share:g}"
    return None


def _by_kind(kinds: Counter[FailureKind], examples: Mapping[FailureKind, FailedRow]) -> list[str]:
    return [
        *(f"  {count} {kind}, for example {examples[kind].message}" for kind, count in kinds.most_common()),
        *(f"  {ADVICE[kind]}" for kind, _ in kinds.most_common(1) if kind in ADVICE),
    ]


SHOWN_FAILURES = 10
OPTIONAL_FIELDS = ("options", "evidence_spans", "problem_type", "fps", "frame_times")
SHOWN_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build holds: the counts of its run.json, failed rows, and how each annotation file was read.

    `resumed` counts samples of earlier starts; `unchanged`: there was nothing to do. `cached_videos` came
    from the cache; `damaged_entries` of it were found. `damaged_videos`: (name, decode errors), the worst
    first; `evidence_beyond`: ids of samples with evidence behind the end of their video; `equal_variants`
    counts samples whose variants are all the same. `versions` are packages whose version has changed: (at
    first, now).
    """

    counts: Mapping[str, int]
    failures: tuple[FailedRow, ...]
    seconds: float
    readings: dict[str, Reading] = field(default_factory=dict)
    resumed: int = 0
    unchanged: bool = False
    cached_videos: int = 0
    damaged_entries: tuple[Path, ...] = ()
    damaged_videos: tuple[tuple[str, int], ...] = ()
    evidence_beyond: tuple[str, ...] = ()
    equal_variants: int = 0
    versions: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def reading_lines(readings: Mapping[str, Reading]) -> Iterator[str]:
    """What was read, guessed and left out of each annotation file, said first and once more at the end."""
    for path, reading in readings.items():
        unread = [f"not read: {', '.join(map(_with_hint, reading.unread))}"] if reading.unread else []
        types = ", ".join(f"{count} {name}" for name, count in reading.types.items())
        parts = [f"{path}: recipe {reading.recipe}", types, *reading.guesses, *unread]
        yield "; ".join(part for part in parts if part)
        yield from (f"  {advice}" for advice in reading.advice)


def _with_hint(column: str) -> str:
    """A column that is not read, with the field that its name nearly is."""
    near = nearest(column.casefold(), OPTIONAL_FIELDS)
    return f"{column} (did you mean {near[0]}?)" if near else column


def summary_lines(summary: BuildSummary, out: Path | str, cache: Path | None) -> Iterator[str]:
    """The closing lines of a build."""
    shell = quote(str(out))
    yield from reading_lines(summary.readings)
    for name, (was, now) in summary.versions.items():
        yield f"{out}: started with {name} {was}, now {now}: only equal versions give equal bytes"
    for entry in summary.damaged_entries:
        yield f"{entry}: damaged cache entry; its video was decoded again"
    if cache and not summary.unchanged:
        tried = plural(summary.counts["tried_videos"], "video")
        yield f"{cache}: {summary.cached_videos} of {tried} came from the cache"
    if summary.unchanged:
        yield f"{out}: already finished, nothing to do"
    elif summary.resumed:
        yield f"{out}: {plural(summary.resumed, 'sample')} kept from earlier starts"
    yield f"{out}: {counted_samples(summary.counts)}, {summary.seconds:.1f} s"
    if not summary.unchanged and (older := _older(out)):
        yield older
    for failure in summary.failures[:SHOWN_FAILURES]:
        yield f"  {failure.kind}: {failure.message}"
    if len(summary.failures) > SHOWN_FAILURES:
        yield f"  and {len(summary.failures) - SHOWN_FAILURES} more: strive-data inspect {shell} --failures"
        kinds = Counter(failure.kind for failure in summary.failures).most_common()
        yield f"  by kind: {', '.join(f'{count} {kind}' for kind, count in kinds)}"
    failed = sum(failure.stage != "annotation" for failure in summary.failures)
    if summary.unchanged and failed:
        yield f"  {plural(failed, 'row')} failed when tried: --retry-failed tries them again"
    elif summary.failures and not summary.unchanged:
        again = " (rows that failed when tried: with --retry-failed)" if failed else ""
        yield f"  correct these rows or files, then run the same command again{again}"
    if damaged := [f"{name} ({plural(errors, 'error')})" for name, errors in summary.damaged_videos]:
        yield f"  decoded with errors: {some(damaged, SHOWN_NAMES)}"
        yield f"  their frames: strive-data report {shell} --where 'decode_errors > 0'"
    if equal := summary.equal_variants:
        have = f"{plural(equal, 'sample')} {'has' if equal == 1 else 'have'}"
        yield (
            f"  {have} equal variants (images, and videos with no more candidates than a variant's frames): "
            "without spatial views M×G is 1×(M·G) there"
        )
    if late := summary.evidence_beyond:
        have = f"{plural(len(late), 'question')} {'has' if len(late) == 1 else 'have'}"
        yield f"  {have} evidence beyond the end of the video: {some(late, SHOWN_NAMES)}"


def _older(out: Path | str) -> str:
    """A line that names what other commands made of a build before it changed; "" where there is nothing."""
    made_by = {REPORT_FILE: "strive-data report", CHOSEN_REPORT_FILE: "strive-data report --where …"}
    made_by |= {PASS_RATES_FILE: "strive-rl probe"}
    made = [f"{name} ({command})" for name, command in made_by.items() if Path(out, name).is_file()]
    return f"  older than the build now: {', '.join(made)}" if made else ""


def stopped_line(out: Path | str) -> str:
    """The closing line of a build that a signal ended."""
    return f"stopped: finished shards are kept in {out}; start the same command again to continue"
