"""One question whose evidence is known: the input of the judge."""

from __future__ import annotations

from dataclasses import dataclass

from strive_data.schema import Floats, Indices

Moment = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Scores float32 [N] of a video's candidates for a question, and its moments.

    `moments`: half-open ranges of candidates in which the answer can be seen; an empty range is a moment that
    no candidate meets, missed by every sampler. `stored`: the variants of a build, int32 [M, K].
    """

    sample_id: str
    video_id: str
    scores: Floats
    moments: tuple[Moment, ...]
    stored: Indices | None = None
