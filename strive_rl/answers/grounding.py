"""Temporal grounding: how well spans of time agree with the true ones.

Temporal IoU is the measure of TALL (Gao et al., ICCV 2017, arXiv 1705.02101) and the reward of Time-R1 and
OneThinker: the seconds in both spans over the seconds in either. Of several spans it is that of their unions,
so overlapping and repeated spans count once. Differs from Time-R1, which reads the last span alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from strive_data.annotations.time_spans import find_spans
from strive_data.schema import Span
from strive_rl.answers.plain import plain_text

IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""Of R@IoU, as published results give it."""


def spans_in(answer: str) -> tuple[Span, ...]:
    """The spans that an answer gives, in seconds."""
    return find_spans(plain_text(answer))


def temporal_iou(given: Sequence[Span], true: Sequence[Span]) -> float:
    """|∪given ∩ ∪true| / |∪given ∪ ∪true| in seconds, in [0, 1]; 0 where either has no length."""
    ours, theirs = _union(given), _union(true)
    both = sum(max(0.0, min(end, stop) - max(start, begin)) for start, end in ours for begin, stop in theirs)
    either = _length(ours) + _length(theirs) - both
    return min(both / either, 1.0) if both > 0 else 0.0


def recalls(ious: Sequence[float]) -> dict[str, float]:
    """Share of answers whose IoU reaches each threshold: {"R@0.3": …}."""
    return {f"R@{least}": sum(iou >= least for iou in ious) / len(ious) for least in IOU_THRESHOLDS}


def _union(spans: Sequence[Span]) -> list[Span]:
    """The same seconds in spans that do not meet, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def _length(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in spans)
