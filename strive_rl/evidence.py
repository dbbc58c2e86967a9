"""Whether the frames that were shown hold what the question is about. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from strive_data.schema import Span


def evidence_seen(times: Sequence[float], spans: Sequence[Span]) -> bool | None:
    """Whether a frame lies in a span of evidence (ends included); None where no span is known."""
    if not spans:
        return None
    return any(start <= time <= end for start, end in spans for time in times)
