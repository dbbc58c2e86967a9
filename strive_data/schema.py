"""The contract: what passes between the stages, what a shard holds, what the tables hold.

Shape letters: N candidate frames of a video, M variants, K frames of a variant, S stored frames.
Times are presentation times in seconds from the first shown frame of the video.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from strive_data import SCHEMA_VERSION
from strive_data.errors import FailureKind, SampleError

IMAGE_READER = "image"
"""The reader of images, by which tables and samples tell them from videos."""

ProblemType = Literal["multiple choice", "numerical", "OCR", "free-form", "regression", "temporal grounding"]
GROUNDING: ProblemType = "temporal grounding"
PROBLEM_TYPES: tuple[str, ...] = get_args(ProblemType)

Stage = Literal["annotation", "decode", "score", "sample", "write"]

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Span = tuple[float, float]
Table = dict[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One usable row of an annotation file.

    `video` is relative to the data root, normalised, with forward slashes. `options` keep their letters
    ("A. text"). The answer to temporal grounding is "start to end; …" in seconds. `evidence_spans` are
    seconds in which the answer can be seen, where the annotation has them. A folder of pictures may have its
    rate `fps`, or the time of each picture in seconds, `frame_times`, from its row.
    """

    sample_id: str
    video: str
    question: str
    answer: str
    problem_type: ProblemType
    options: tuple[str, ...] = ()
    source: str = ""
    evidence_spans: tuple[Span, ...] = ()
    fps: float = 0.0
    frame_times: tuple[float, ...] = ()


# Fields that are stored and hashed only where they are set: questions without them keep their bytes.
ADDED_FIELDS = ("fps", "frame_times")


@dataclass(frozen=True, slots=True)
class TimedFolder:
    """A folder of pictures on this machine with a rate or times from its rows (decode/pictures.py)."""

    path: Path
    fps: float = 0.0
    frame_times: tuple[float, ...] = ()

    def __str__(self) -> str:
        """The path, for messages."""
        return str(self.path)


LocalVideo = Path | TimedFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """A row of the annotation that gave no sample: one row of failures.parquet.

    `row` is its 0-based position in the annotation, -1 if that is not known: a manifest does not store it,
    because positions change when rows are added. In the table, `message` names the file and the line.
    `question_hash` identifies the question that was tried ("" for a row that could not be read), `attempt`
    the round of `--retry-failed` in which it failed.
    """

    sample_id: str
    row: int
    video: str
    stage: Stage
    kind: FailureKind
    message: str
    question_hash: str = ""
    attempt: int = 0


def failed_row(row: tuple[int, Question], stage: Stage, error: SampleError) -> FailedRow:
    """The failure of a row (number, question) of the annotation."""
    number, question = row
    return FailedRow(
        sample_id=question.sample_id,
        row=number,
        video=question.video,
        stage=stage,
        kind=error.kind,
        message=error.message,
        question_hash=question_hash(question),
    )


def question_hash(question: Question) -> str:
    """Hash of a question with its text, answer, options, video and all other fields."""
    values = [getattr(question, name) for name in Question.__dataclass_fields__ if name not in ADDED_FIELDS]
    values += [{name: value} for name in ADDED_FIELDS if (value := getattr(question, name))]
    return sha256(json.dumps(values).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video once it is decoded.

    `video_id` is a hash of the encoded packets; `width` and `height` are the shown size of the source in
    pixels, orientation applied; `decode_errors` counts errors that the reader met and survived;
    `discontinuities` counts the places where the file's clock jumps and the reader closed the jump. An image
    is a video of one frame that lasts 0 s.
    """

    video_id: str
    duration_seconds: float
    width: int
    height: int
    reader: str
    reader_version: str
    decode_errors: int = 0
    discontinuities: int = 0

    @property
    def is_image(self) -> bool:
        """Whether it is an image and no video."""
        return self.reader == IMAGE_READER


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The decoded candidate frames of one video: frames uint8 RGB [N, H, W, 3], times float64 [N] seconds."""

    info: VideoInfo
    frames: Frames
    times: Times


@dataclass(frozen=True, kw_only=True)
class SampleMeta:
    """The `KEY.json` member of a sample."""

    question: Question
    info: VideoInfo
    sampler: dict[str, Any] = field(default_factory=dict)
    scorer: str = ""
    query_windows: int = 1

    def to_json(self) -> dict[str, Any]:
        """Flat JSON object with the member names of a shard (`shards.format.read_meta` reads it);
        `discontinuities` only if not 0, the added fields of a question only where they are set, `views`
        always empty: spatial views are made at reading."""
        body: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        body |= asdict(self.question) | asdict(self.info)
        for name in ("discontinuities", *ADDED_FIELDS):
            if not body[name]:
                del body[name]
        body |= {"sampler": self.sampler, "scorer": self.scorer}
        return body | {"query_windows": self.query_windows, "views": []}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One (video, question) of a shard, as written and as read.

    scores float32 [N] raw; times float64 [N] seconds; variants int32 [M, K] and uniform int32 [K], candidate
    indices, strictly increasing; stored int32 [S], the candidates whose frames `jpegs` holds, in that
    order. `embeds` float16 [N, D], unit frame embeddings, are there where the build stored them. `clusters`
    int32 [N] are those that semantic grouping walked by: a column of frames.parquet, no part of a shard.
    """

    meta: SampleMeta
    scores: Floats
    times: Times
    variants: Indices
    uniform: Indices
    stored: Indices
    jpegs: tuple[bytes, ...]
    embeds: Halves | None = None
    clusters: Indices | None = None

    @property
    def key(self) -> str:
        """WebDataset key of the sample."""
        return sample_key(self.meta.question.sample_id)

    def jpegs_of(self, candidates: Indices) -> list[bytes]:
        """JPEGs of the given candidates; KeyError for one whose frame is not stored."""
        place = {int(candidate): slot for slot, candidate in enumerate(self.stored)}
        return [self.jpegs[place[int(candidate)]] for candidate in candidates]

    @property
    def holds_all(self) -> bool:
        """Whether every candidate's frame is stored, so that variants can be drawn again."""
        return len(self.stored) == len(self.times)


def sample_key(sample_id: str) -> str:
    """Slug of a sample id, safe in a tar on any file system: [A-Za-z0-9_-], at most 80 characters, no dots.

    An id that had to be changed gets a hash of the id, so that two ids never share a key.
    """
    slug = re.sub(r"[^A-Za-z0-9_-]", "-", sample_id)[:63]
    return slug if slug == sample_id else f"{slug}-{sha256(sample_id.encode()).hexdigest()[:16]}"


SAMPLES_TABLE: Table = {
    "sample_id": pl.String,
    "video_id": pl.String,
    "video": pl.String,
    "question": pl.String,
    "options": pl.List(pl.String),
    "answer": pl.String,
    "problem_type": pl.String,
    "source": pl.String,
    "evidence_spans": pl.List(pl.List(pl.Float64)),
    "duration_seconds": pl.Float64,
    "width": pl.Int32,
    "height": pl.Int32,
    "candidates": pl.Int32,
    "frames": pl.Int32,
    "variants": pl.Int32,
    "stored": pl.Int32,
    "query_windows": pl.Int32,
    "reader": pl.String,
    "decode_errors": pl.Int32,
    "discontinuities": pl.Int32,
    "shard": pl.String,
}

FRAMES_TABLE: Table = {
    "sample_id": pl.String,
    "video_id": pl.String,
    "candidate": pl.Int32,
    "time": pl.Float64,
    "score": pl.Float32,
    "z": pl.Float64,
    "inclusion": pl.Float64,
    "cluster": pl.Int32,
    "variants": pl.List(pl.Int32),
    "uniform": pl.Boolean,
}

FAILURES_TABLE: Table = {
    "sample_id": pl.String,
    "row": pl.Int64,
    "video": pl.String,
    "stage": pl.String,
    "kind": pl.String,
    "message": pl.String,
}

INDEX_TABLE: Table = {
    "sample_id": pl.String,
    "shard": pl.String,
    "offset": pl.Int64,
    "length": pl.Int64,
    "sha256": pl.String,
}
