"""One decoded video → a sample or a failure for each of its questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from strive_data.config import BuildSettings
from strive_data.errors import SampleError
from strive_data.sampling import make_sample
from strive_data.schema import Failure, Floats, Question, Sample, Stage
from strive_data.score import Scorer
from strive_data.scoring import Video, score_video
from strive_data.stopwatch import Stopwatch


def samples_of(
    rows: Sequence[tuple[int, Question]],
    video: Video | SampleError,
    scorer: Scorer,
    settings: BuildSettings,
    *,
    embeddings: Floats | None = None,
    stopwatch: Stopwatch | None = None,
) -> Iterator[Sample | Failure]:
    """One sample or failure for each row (number, question) of a video; `embeddings` as for `score_video`."""
    watch = stopwatch or Stopwatch()
    if isinstance(video, SampleError):
        yield from (failure_of(row, "decode", video) for row in rows)
        return
    questions = [question for _, question in rows]
    try:
        with watch.stage("model"):
            stills, scored = score_video(
                video, questions, scorer, quality=settings.shard.quality, embeddings=embeddings
            )
    except SampleError as error:
        yield from (failure_of(row, "score", error) for row in rows)
        return
    for row, result in zip(rows, scored, strict=True):
        if isinstance(result, SampleError):
            yield failure_of(row, "score", result)
            continue
        try:
            with watch.stage("encode"):
                sample = make_sample(row[1], stills, result, settings)
        except SampleError as error:
            yield failure_of(row, "sample", error)
        else:
            yield sample


def failure_of(row: tuple[int, Question], stage: Stage, error: SampleError) -> Failure:
    """The row of failures.parquet of a question that could not be used."""
    number, question = row
    return Failure(
        sample_id=question.sample_id,
        row=number,
        video=question.video,
        stage=stage,
        kind=error.kind,
        message=error.message,
    )
