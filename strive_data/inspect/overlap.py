"""Two builds → the pairs of videos that show the same (contamination).

Each whole frame of one build is compared with every view of every frame of the other, both ways round, by an
exact faiss index (inner products of unit vectors). Two videos are a pair where enough like frames agree on
one shift in time. Memory holds the whole frames of both builds; views are made video by video.

Frames are unit vectors: stored embeddings, those of a scorer, or a descriptor, our construction after
perceptual hashes. A frame is made 64×64 grey; the lowest 8×8 frequencies of its cosine transform, without the
mean and the rest weighted by √frequency, are the descriptor. It does not change with brightness, contrast,
size, codec or bit rate. Cropping does change it, so a frame has one descriptor for each of 31 views: itself,
and parts of it (.85 and .7 of one side or of both, at the beginning, in the middle and at the end); a cropped
copy looks like one of the parts. Shapes: V views, S side, B frequencies, D = B², H like pairs (hits).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from strive_data.common.settings import require
from strive_data.common.text import plural, table_text
from strive_data.config import ScoreSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.tables import scan
from strive_data.schema import Floats, Frames, Sample, Table, Times
from strive_data.score import make_scorer
from strive_data.score.scorer import FrameEmbedder
from strive_data.shards.format import decode_jpeg
from strive_data.shards.reader import ShardSet

SIDE = 64
FREQUENCIES = 8
PARTS = (0.85, 0.7)
LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels below which a view shows nothing: black frames are no match."""

Float64s = npt.NDArray[np.float64]
Interval = tuple[int, int]


def views() -> list[tuple[Interval, Interval]]:
    """(rows, columns) of each view as half-open intervals of the small picture; the first is all of it."""
    whole = (0, SIDE)
    found = [(whole, whole)]
    for part in PARTS:
        length = round(part * SIDE)
        starts = (0, (SIDE - length) // 2, SIDE - length)
        sides = [(start, start + length) for start in starts]
        found += [(whole, side) for side in sides] + [(side, whole) for side in sides]
        found += [(rows, columns) for rows in sides for columns in sides]
    return found


def describe(frame: Frames) -> Floats:
    """Descriptors float32 [V, D] of one frame, uint8 grey [H, W] or RGB [H, W, 3].

    Of unit length; all zeros where a view has less than LEAST_CONTRAST, so that it resembles nothing.
    """
    picture = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    levels_SS = np.asarray(picture, dtype=np.float64)
    rows = [_describe_view(levels_SS[slice(*rows), slice(*columns)]) for rows, columns in VIEWS]
    return np.stack(rows).astype(np.float32)


def _describe_view(levels: Float64s) -> Float64s:
    height, width = levels.shape
    waves_BB = COSINES[height] @ levels @ COSINES[width].T
    waves_BB[0, 0] = 0
    if np.linalg.norm(waves_BB) < LEAST_CONTRAST * np.sqrt(height * width):
        return np.zeros(FREQUENCIES**2)
    weighted_BB = waves_BB * WEIGHTS
    unit: Float64s = weighted_BB.ravel() / np.linalg.norm(weighted_BB)
    return unit


def cosines(length: int) -> Float64s:
    """The first rows [B, length] of the orthonormal cosine transform (DCT-II)."""
    rows = np.arange(FREQUENCIES)[:, None]
    waves = np.cos(np.pi * rows * (2 * np.arange(length) + 1) / (2 * length)) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)


VIEWS = views()
COSINES = {length: cosines(length) for rows, _ in VIEWS for length in (rows[1] - rows[0],)}
WEIGHTS = np.sqrt(np.hypot(*np.meshgrid(np.arange(FREQUENCIES), np.arange(FREQUENCIES))))

PICTURE, STORED = "picture", "stored"


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoVectors:
    """One video of a build, and how many samples use it.

    times float64 [F] seconds of its frames; unit vectors float32 [F, V, D] of V views of each, the first of
    which is the whole frame; `spacing_seconds` between candidates.
    """

    video: str
    video_id: str
    samples: int
    spacing_seconds: float
    times: Times
    vectors: Floats


Embed = Callable[[Sequence[Sample]], tuple[Times, Floats]]
"""Samples of one video → times [F] and vectors [F, V, D]."""


def embed_by(name: str, score: ScoreSettings) -> Embed:
    """The embedding called `name`: `picture`, `stored`, or a scorer that embeds frames.

    Raises SettingsError for a scorer that does not, and UsageError for one that cannot be loaded.
    """
    if name == PICTURE:
        return _by_picture
    if name == STORED:
        return _by_stored
    scorer = make_scorer(score)
    if not isinstance(scorer, FrameEmbedder):
        raise SettingsError(f"--by {name}: this scorer embeds no frames; use picture, stored, clip or demo")
    return partial(_by_scorer, scorer)


def read_video_vectors(folder: Path, embed: Embed) -> Iterator[VideoVectors]:
    """The videos of a finished build, one at a time, in the order of their first sample.

    Raises UsageError for a folder that is no finished build or has no sample.
    """
    shards = ShardSet.open(folder)
    if not len(shards):
        raise UsageError(f"{folder}: the build has no samples, so there is nothing to compare")
    named = scan(folder, "samples").select("sample_id", "video", "video_id").collect()
    video_of = {sample_id: (video, video_id) for sample_id, video, video_id in named.rows()}
    places: dict[tuple[str, str], list[int]] = {}
    for place, sample_id in enumerate(shards.sample_ids):
        places.setdefault(video_of[sample_id], []).append(place)
    for (video, video_id), of in places.items():
        samples = [shards.read(place) for place in of]
        times, vectors = embed(samples)
        yield VideoVectors(
            video=video,
            video_id=video_id,
            samples=len(samples),
            spacing_seconds=samples[0].meta.info.duration_seconds / len(samples[0].times),
            times=times,
            vectors=vectors,
        )


def stored_frames(samples: Sequence[Sample]) -> dict[int, bytes]:
    """JPEG by candidate of all frames that the samples of one video store, in the order of time."""
    pairs = ((i, jpeg) for s in samples for i, jpeg in zip(s.stored.tolist(), s.jpegs, strict=True))
    return dict(sorted(dict(pairs).items()))


def _by_picture(samples: Sequence[Sample]) -> tuple[Times, Floats]:
    frames = stored_frames(samples)
    grey = (decode_jpeg(jpeg, colours="GRAY")[..., 0] for jpeg in frames.values())
    return samples[0].times[list(frames)], np.stack([describe(frame) for frame in grey])


def _by_stored(samples: Sequence[Sample]) -> tuple[Times, Floats]:
    embeds = samples[0].embeds
    if embeds is None:
        sample_id = samples[0].meta.question.sample_id
        raise UsageError(
            f"--by stored: sample {sample_id!r} has no embeddings; build with --set shard.embeds=true, or "
            "use --by picture"
        )
    # Half floats are of unit length to three digits only.
    rows_ND = embeds.astype(np.float32)
    unit_ND = rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return samples[0].times, unit_ND[:, None]


def _by_scorer(scorer: FrameEmbedder, samples: Sequence[Sample]) -> tuple[Times, Floats]:
    frames = stored_frames(samples)
    pictures = np.stack([decode_jpeg(jpeg) for jpeg in frames.values()])
    return samples[0].times[list(frames)], scorer.embed_frames(pictures)[:, None]


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


Hits = tuple[Times, Times, Floats]
"""Like frames: their times in the train and in the eval video, each float64 [H], and cosines float32 [H]."""


def vote(hits: Hits, *, tolerance_seconds: float, least: int) -> Match | None:
    """What the frames agree on; None where fewer than `least` agree on any shift in time.

    Frames agree whose shifts differ by at most the tolerance; each frame counts once.
    """
    train_times, eval_times, _ = hits
    steps = np.floor((eval_times - train_times) / tolerance_seconds).astype(np.int64)
    # Two steps wide, so that any set within one tolerance is whole in some window.
    windows = ((steps == step) | (steps == step + 1) for step in np.unique(steps))
    agreeing = ((train_times[of], eval_times[of], hits[2][of]) for of in windows)
    matches = [match for few in agreeing if (match := _match(few, least))]
    if not matches:
        return None
    most = max(matches, key=lambda match: match.evidence)
    return replace(most, score=max(match.score for match in matches))


def _match(hits: Hits, least: int) -> Match | None:
    train_times, eval_times, cosines = hits
    by_train, by_eval = _best_of_each(train_times, cosines), _best_of_each(eval_times, cosines)
    count = min(len(by_train), len(by_eval))
    if count < least:
        return None
    return Match(
        hits=count,
        offset_seconds=float(np.average(eval_times - train_times, weights=_evidence(cosines))),
        score=float(min(by_train[-least], by_eval[-least])),
        evidence=float(min(_evidence(by_train).sum(), _evidence(by_eval).sum())),
    )


def _evidence(cosines: Floats) -> Floats:
    """−log(1 − cosine), at most some 7: JPEGs of the same frame differ by a thousandth."""
    return np.asarray(-np.log(np.maximum(1 - cosines, 1e-3)))


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


def threshold_of(by: str, given: float | None) -> float:
    """The cosine from which on frames are alike; where none is given, that of `picture`.

    Raises SettingsError for embeddings without one: which cosine means the same picture differs by model.
    """
    if given is None and by != PICTURE:
        raise SettingsError(
            f"--by {by}: give --threshold too; which cosine means the same picture depends on the model "
            "(compare a build with copies of some of its videos to see)"
        )
    require(given is None or 0 < given < 1, f"--threshold: got {given}, expected between 0 and 1")
    return PICTURE_THRESHOLD if given is None else given


class WholeFrames:
    """The whole frames of many videos in one index for `similar`; `videos` are kept without their vectors."""

    def __init__(self, videos: Iterable[VideoVectors]) -> None:
        # Loaded here: it brings an OpenMP of its own, which who never compares need not load.
        import faiss

        self.videos: list[VideoVectors] = []
        vectors, times, owners = [], [], []
        for video in videos:
            vectors.append(video.vectors[:, 0])
            times.append(video.times)
            owners.append(np.full(len(video.times), len(self.videos)))
            self.videos.append(replace(video, vectors=np.empty((0, 0, 0), np.float32)))
        rows = np.ascontiguousarray(np.concatenate(vectors), dtype=np.float32)
        self._index = faiss.IndexFlatIP(rows.shape[1])
        self._index.add(rows)
        self._times, self._owners = np.concatenate(times), np.concatenate(owners)

    def similar(
        self, video: VideoVectors, threshold: float
    ) -> Iterator[tuple[int, Times, Times, np.ndarray]]:
        """(video, its times [H], times of the video [H], cosines [H]) of each video with like frames."""
        count, views, width = video.vectors.shape
        queries = np.ascontiguousarray(video.vectors.reshape(count * views, width), dtype=np.float32)
        ends, cosines, rows = self._index.range_search(queries, threshold)
        counts: npt.NDArray[np.int64] = np.diff(ends).astype(np.int64)
        times = np.repeat(np.repeat(video.times, views), counts)
        owners = self._owners[rows]
        for owner in np.unique(owners):
            own = owners == owner
            yield int(owner), self._times[rows[own]], times[own], cosines[own]


def find_overlap(
    train: Path, evaluation: Path, embed: Embed, *, threshold: float = PICTURE_THRESHOLD, least_hits: int = 4
) -> pl.DataFrame:
    """Pairs of videos of two builds that show the same, as OVERLAP_TABLE: the certain first, then by score.

    Frames are alike from a cosine of `threshold` on; videos, where `least_hits` frames agree in time.
    `same_packets`: both files hold the same encoded video, whatever the container. Raises UsageError for a
    folder that is no build or an empty one, StriveError for a damaged shard.
    """
    found: dict[tuple[int, int], list[Hits]] = defaultdict(list)
    eval_frames = WholeFrames(read_video_vectors(evaluation, embed))

    def compared() -> Iterator[VideoVectors]:
        for number, video in enumerate(read_video_vectors(train, embed)):
            for other, theirs, ours, cosines in eval_frames.similar(video, threshold):
                found[number, other].append((ours, theirs, cosines))
            yield video

    train_frames = WholeFrames(compared())
    for number, video in enumerate(read_video_vectors(evaluation, embed)):
        for other, theirs, ours, cosines in train_frames.similar(video, threshold):
            found[other, number].append((theirs, ours, cosines))
    return _table(train_frames.videos, eval_frames.videos, found, least_hits)


def _table(
    train: list[VideoVectors],
    evaluation: list[VideoVectors],
    found: dict[tuple[int, int], list[Hits]],
    least_hits: int,
) -> pl.DataFrame:
    matches: dict[tuple[int, int], Match] = {}
    for pair, hits in found.items():
        # Shifts are known no better than the candidates lie apart.
        spacing = max(train[pair[0]].spacing_seconds, evaluation[pair[1]].spacing_seconds)
        tolerance = max(LEAST_TOLERANCE_SECONDS, spacing / 2)
        train_times, eval_times, cosines = map(np.concatenate, zip(*hits, strict=True))
        joined = (train_times, eval_times, cosines)
        if match := vote(joined, tolerance_seconds=tolerance, least=least_hits):
            matches[pair] = match
    by_id: dict[str, list[int]] = defaultdict(list)
    for number, video in enumerate(train):
        by_id[video.video_id].append(number)
    certain = {(number, other) for other, video in enumerate(evaluation) for number in by_id[video.video_id]}
    rows = []
    for pair in sorted(certain | matches.keys()):
        mine, theirs, agreed = train[pair[0]], evaluation[pair[1]], matches.get(pair)
        shown = (agreed.score, agreed.hits, agreed.offset_seconds) if agreed else (None, 0, None)
        rows.append((mine.video, theirs.video, pair in certain, *shown, mine.samples, theirs.samples))
    table = pl.DataFrame(rows, schema=OVERLAP_TABLE, orient="row")
    return table.sort("same_packets", "score", descending=True, nulls_last=True, maintain_order=True)


def as_overlap_text(table: pl.DataFrame) -> str:
    """One line that counts, then one row a pair of videos."""
    if table.is_empty():
        return "no video in common"
    found = plural(table["eval_video"].n_unique(), "video")
    samples = plural(int(table.unique("eval_video")["eval_samples"].sum()), "sample")
    return f"{found} of EVAL found in TRAIN too, with {samples} in EVAL\n{table_text(table, decimals=3)}"
