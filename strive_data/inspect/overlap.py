"""Two builds → the pairs of videos that show the same (contamination).

Each whole frame of one build is compared with every view of every frame of the other, both ways round, by an
exact faiss index (inner products of unit vectors). Two videos are a pair where enough like frames agree on
one shift in time. Memory holds the whole frames of both builds; views are made video by video.
Shapes: H pairs of like frames (hits).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from strive_data.common.settings import require
from strive_data.common.text import plural, table_text
from strive_data.errors import SettingsError
from strive_data.inspect.overlap_frames import PICTURE, Embed, VideoVectors, read_video_vectors
from strive_data.schema import Floats, Table, Times


class Hits(NamedTuple):
    """Pairs of like frames: their times in seconds, each float64 [H], and cosines float32 [H]."""

    train_times: Times
    eval_times: Times
    cosines: Floats


@dataclass(frozen=True, kw_only=True)
class Match:
    """`hits` distinct frames of each video agree that eval time = train time + `offset_seconds`.

    `evidence` is Σ −log(1 − cosine) of those frames, and the shift that with most of it: in a still shot
    nearly alike frames are everywhere, and only identical frames show the shift. `score` is the highest
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
    # Two steps wide, so that any set within one tolerance is whole in some window.
    windows = ((steps == step) | (steps == step + 1) for step in np.unique(steps))
    matches = [match for within in windows if (match := _match(hits, within, offsets, least))]
    if not matches:
        return None
    most = max(matches, key=lambda match: match.evidence)
    return replace(most, score=max(match.score for match in matches))


def _match(hits: Hits, within: npt.NDArray[np.bool_], offsets: Times, least: int) -> Match | None:
    cosines = hits.cosines[within]
    by_train = _best_of_each(hits.train_times[within], cosines)
    by_eval = _best_of_each(hits.eval_times[within], cosines)
    count = min(len(by_train), len(by_eval))
    if count < least:
        return None
    return Match(
        hits=count,
        offset_seconds=float(np.average(offsets[within], weights=_evidence(cosines))),
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


OVERLAP_TABLE: Table = {
    "train_video": pl.String,
    "eval_video": pl.String,
    "same_packets": pl.Boolean,
    "score": pl.Float64,
    "hits": pl.Int32,
    "offset_seconds": pl.Float64,
    "train_samples": pl.Int32,
    "eval_samples": pl.Int32,
}
LEAST_TOLERANCE_SECONDS = 0.5
PICTURE_THRESHOLD = 0.75
"""Between .63, the best score of two different real clips, and .87, the least of a cropped copy: twelve
clips, and re-encoded (half size, low bit rate), cropped (80 %) and cut copies of four of them."""


@dataclass(frozen=True, kw_only=True)
class OverlapSettings:
    """Frames are alike from a cosine of `threshold` on; videos, where `least_hits` frames agree in time."""

    threshold: float = PICTURE_THRESHOLD
    least_hits: int = 4

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, f"--threshold: got {self.threshold}, expected between 0 and 1")
        require(self.least_hits >= 1, f"--hits: got {self.least_hits}, expected at least 1")


def threshold_of(by: str, given: float | None) -> float:
    """The threshold, where none is given that of `picture`.

    Raises SettingsError for embeddings without one: which cosine means the same picture differs by model.
    """
    if given is not None:
        return given
    if by != PICTURE:
        raise SettingsError(
            f"--by {by}: give --threshold too; which cosine means the same picture depends on the model "
            "(compare a build with copies of some of its videos to see)"
        )
    return PICTURE_THRESHOLD


class WholeFrames:
    """The whole frames of many videos in one index; `similar` finds those that are like given views.

    `videos` are kept without their vectors.
    """

    def __init__(self) -> None:
        self.videos: list[VideoVectors] = []
        self._vectors: list[np.ndarray] = []
        self._times: list[Times] = []
        self._owners: list[np.ndarray] = []

    def add(self, video: VideoVectors) -> None:
        """One more video; call `build_index` after the last."""
        self._owners.append(np.full(len(video.times), len(self.videos)))
        self.videos.append(replace(video, vectors=np.empty((0, 0, 0), np.float32)))
        self._vectors.append(video.vectors[:, 0])
        self._times.append(video.times)

    def build_index(self) -> None:
        """Build the index of all videos."""
        # Loaded here: it brings an OpenMP of its own, which who never compares need not load.
        import faiss

        vectors = np.ascontiguousarray(np.concatenate(self._vectors), dtype=np.float32)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        self._vectors = []
        self._all_times, self._all_owners = np.concatenate(self._times), np.concatenate(self._owners)

    def similar(
        self, video: VideoVectors, threshold: float
    ) -> Iterator[tuple[int, Times, Times, np.ndarray]]:
        """(video, its times [H], times of the video [H], cosines [H]) of each video with like frames."""
        count, views, width = video.vectors.shape
        queries = np.ascontiguousarray(video.vectors.reshape(count * views, width), dtype=np.float32)
        ends, cosines, rows = self._index.range_search(queries, threshold)
        counts: npt.NDArray[np.int64] = np.diff(ends).astype(np.int64)
        times = np.repeat(np.repeat(video.times, views), counts)
        owners = self._all_owners[rows]
        for owner in np.unique(owners):
            own = owners == owner
            yield int(owner), self._all_times[rows[own]], times[own], cosines[own]


def find_overlap(train: Path, evaluation: Path, embed: Embed, settings: OverlapSettings) -> pl.DataFrame:
    """Pairs of videos of two builds that show the same, as OVERLAP_TABLE: the certain first, then by score.

    `same_packets`: both files hold the same encoded video, whatever the container. Raises UsageError for a
    folder that is no build or an empty one, StriveError for a damaged shard.
    """
    eval_frames, train_frames = WholeFrames(), WholeFrames()
    for video in read_video_vectors(evaluation, embed):
        eval_frames.add(video)
    eval_frames.build_index()
    found: dict[tuple[int, int], list[Hits]] = {}
    for number, video in enumerate(read_video_vectors(train, embed)):
        train_frames.add(video)
        for other, theirs, ours, cosines in eval_frames.similar(video, settings.threshold):
            hits = Hits(train_times=ours, eval_times=theirs, cosines=cosines)
            found.setdefault((number, other), []).append(hits)
    train_frames.build_index()
    for number, video in enumerate(read_video_vectors(evaluation, embed)):
        for other, theirs, ours, cosines in train_frames.similar(video, settings.threshold):
            hits = Hits(train_times=theirs, eval_times=ours, cosines=cosines)
            found.setdefault((other, number), []).append(hits)
    return _table(train_frames.videos, eval_frames.videos, found, settings)


def _table(
    train: list[VideoVectors],
    evaluation: list[VideoVectors],
    found: dict[tuple[int, int], list[Hits]],
    settings: OverlapSettings,
) -> pl.DataFrame:
    matches: dict[tuple[int, int], Match] = {}
    for pair, hits in found.items():
        # Shifts are known no better than the candidates lie apart.
        spacing = max(train[pair[0]].spacing_seconds, evaluation[pair[1]].spacing_seconds)
        tolerance = max(LEAST_TOLERANCE_SECONDS, spacing / 2)
        joined = Hits(*map(np.concatenate, zip(*hits, strict=True)))
        if match := vote(joined, tolerance_seconds=tolerance, least=settings.least_hits):
            matches[pair] = match
    by_id: dict[str, list[int]] = {}
    for number, video in enumerate(train):
        by_id.setdefault(video.video_id, []).append(number)
    certain = {
        (number, other) for other, video in enumerate(evaluation) for number in by_id.get(video.video_id, [])
    }
    rows = []
    for pair in sorted(certain | matches.keys()):
        mine, theirs, agreed = train[pair[0]], evaluation[pair[1]], matches.get(pair)
        shown = (agreed.score, agreed.hits, agreed.offset_seconds) if agreed else (None, 0, None)
        rows.append((mine.video, theirs.video, pair in certain, *shown, mine.samples, theirs.samples))
    table = pl.DataFrame(rows, schema=OVERLAP_TABLE, orient="row")
    return table.sort("same_packets", "score", descending=True, nulls_last=True, maintain_order=True)


def as_overlap_text(table: pl.DataFrame) -> str:
    """One line that counts, then one row a pair of videos."""
    videos, samples = table["eval_video"].n_unique(), int(table.unique("eval_video")["eval_samples"].sum())
    if table.is_empty():
        return "no video in common"
    summary = (
        f"{plural(videos, 'video')} of EVAL found in TRAIN too, with {plural(samples, 'sample')} in EVAL"
    )
    return f"{summary}\n{table_text(table, decimals=3)}"
