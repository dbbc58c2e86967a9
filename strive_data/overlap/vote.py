"""Like frames of two videos → do they agree on one shift in time? Pure.

Shapes: H pairs of like frames (hits).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from strive_data.schema import Floats, Times


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """Pairs of like frames: their times in seconds, each float64 [H], and cosines float32 [H]."""

    train_times: Times
    eval_times: Times
    cosines: Floats


@dataclass(frozen=True, kw_only=True)
class Match:
    """`hits` distinct frames of each video agree that eval time = train time + `offset_seconds`.

    `evidence` is Σ −log(1 − cosine) of those frames, and the shift that with most of it: in a still shot
    nearly alike frames stand everywhere, and only the very frames tell the shift. `score` is the highest
    threshold at which the pair would still be found, on any shift.
    """

    hits: int
    offset_seconds: float
    score: float
    evidence: float


def vote(hits: Hits, *, tolerance_seconds: float, least: int) -> Match | None:
    """What the frames agree on; None where fewer than `least` agree on any shift in time.

    Frames agree whose shifts differ by at most the tolerance; each frame counts once.
    """
    offsets = hits.eval_times - hits.train_times
    steps = np.floor(offsets / tolerance_seconds).astype(np.int64)
    matches: list[Match] = []
    for step in np.unique(steps):
        # Two steps wide, so that any set within one tolerance is whole in some window.
        near = (steps == step) | (steps == step + 1)
        match = _match(hits, near, offsets, least)
        if match is not None:
            matches.append(match)
    if not matches:
        return None
    most = max(matches, key=lambda match: match.evidence)
    return replace(most, score=max(match.score for match in matches))


def _match(hits: Hits, near: npt.NDArray[np.bool_], offsets: Times, least: int) -> Match | None:
    cosines = hits.cosines[near]
    by_train = _best_of_each(hits.train_times[near], cosines)
    by_eval = _best_of_each(hits.eval_times[near], cosines)
    count = min(len(by_train), len(by_eval))
    if count < least:
        return None
    return Match(
        hits=count,
        offset_seconds=float(np.average(offsets[near], weights=_evidence(cosines))),
        score=float(min(by_train[-least], by_eval[-least])),
        evidence=float(min(_evidence(by_train).sum(), _evidence(by_eval).sum())),
    )


def _evidence(cosines: Floats) -> Floats:
    """−log(1 − cosine), at most some 7: JPEGs of the same frame differ by a thousandth."""
    found: Floats = -np.log(np.maximum(1 - cosines, 1e-3))
    return found


def _best_of_each(times: Times, cosines: Floats) -> Floats:
    """Best cosine of each distinct frame, ascending."""
    _, frame = np.unique(times, return_inverse=True)
    best = np.full(frame.max() + 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, frame, cosines)
    return np.sort(best)
