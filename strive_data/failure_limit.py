"""When too much fails: the counts of one start of a build, and what is said when it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from strive_data.config import FailureSettings
from strive_data.counted import counted
from strive_data.errors import FailureKind, StriveError
from strive_data.schema import Failure

CAUSE = {
    FailureKind.MISSING: "is --data-root the folder that the annotation's video paths start from?",
    FailureKind.TIMEOUT: "is the storage slow, or decode.timeout_seconds short?",
    FailureKind.OOM: "is decode.memory_bytes or decode.max_source_pixels low, or memory short?",
}

WAYS_OUT = (
    "  what is finished is kept: put the cause right and start the same command again "
    "(--retry-failed tries failed rows again), or raise the limit (--set {limit})"
)


class TooManyFailuresError(StriveError):
    """More rows fail than the settings allow; the message sums them up by kind."""


class FailureCount:
    """Counts the rows tried and failed since the start of the command, with an example of each kind."""

    def __init__(self, limits: FailureSettings) -> None:
        self._limits = limits
        self._tried = 0
        self._kinds: Counter[FailureKind] = Counter()
        self._examples: dict[FailureKind, Failure] = {}

    def add(self, tried: int, failures: Sequence[Failure]) -> None:
        """Count `tried` rows, of which these failed. Raises TooManyFailuresError at the limit."""
        self._tried += tried
        for failure in failures:
            self._kinds[failure.kind] += 1
            self._examples.setdefault(failure.kind, failure)
        if failures and (reason := stop_reason(self._tried, self._kinds.total(), self._limits)):
            told = _by_kind(self._kinds, self._examples)
            # Both limits may be in the way: a count of 0 is none.
            limit = "failures.max_share=1" + " --set failures.max_count=0" * bool(self._limits.max_count)
            raise TooManyFailuresError("\n".join([reason, *told, WAYS_OUT.format(limit=limit)]))


def sum_up(failures: Sequence[Failure]) -> list[str]:
    """A line for each kind, the most frequent first, with an example, and what may have caused that one."""
    examples = {failure.kind: failure for failure in reversed(failures)}
    return _by_kind(Counter(failure.kind for failure in failures), examples)


def stop_reason(tried: int, failed: int, limits: FailureSettings) -> str | None:
    """Why the build has to stop, or None. One row more than the limits allow is too many."""
    if limits.max_count and failed > limits.max_count:
        return (
            f"stopped: {failed} of {counted(tried, 'row')} failed, failures.max_count is {limits.max_count}"
        )
    if tried >= limits.min_rows and failed > limits.max_share * tried:
        return (
            f"stopped: {failed} of {counted(tried, 'row')} failed, failures.max_share is {limits.max_share:g}"
        )
    return None


def _by_kind(kinds: Counter[FailureKind], examples: Mapping[FailureKind, Failure]) -> list[str]:
    return [
        *(
            f"  {count} {kind}, as row {examples[kind].row}: {examples[kind].message}"
            for kind, count in kinds.most_common()
        ),
        *(f"  {CAUSE[kind]}" for kind, _ in kinds.most_common(1) if kind in CAUSE),
    ]
