"""The local engine: videos decoded by a pool of processes, embedded in shared batches, scored here.

A decoded video → a sample or a failed row for each of its questions; other engines use these functions too.
Batches have one size, videos do not. The bits of an embedding do not depend on its place in a batch, so
shared batches change the cost only. The model runs in threads of this process (score/scorer.py), while other
videos are decoded and written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from strive_data.annotations.numbers import read_spans, spans_text
from strive_data.config import BuildSettings, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.cache import CacheHit, CacheMiss, VideoCache, check_cache_folder, write_entry
from strive_data.engines.decode_pool import decode_videos, timed_read
from strive_data.engines.engine import Stopwatch, VideoJob, VideoResult
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.sampling.comb import comb_offset
from strive_data.sampling.samplers import (
    cluster_frames,
    draw,
    needs_embeddings,
    require_order,
    uniform_indices,
)
from strive_data.schema import (
    GROUNDING,
    Candidates,
    FailedRow,
    Floats,
    LocalVideo,
    Question,
    Sample,
    SampleMeta,
    failed_row,
)
from strive_data.score import FrameScores, Scorer, make_scorer
from strive_data.score.scorer import (
    BatchedVideo,
    BatchingScorer,
    Embedded,
    EmbeddingScorer,
    FlatScorer,
    FrameBatcher,
    FrameEmbedder,
)
from strive_data.shards.format import EncodedFrames, encode_frames

MOST_VIDEOS = 32
Video = Candidates | CacheMiss | CacheHit
Scored = Sequence[FrameScores | SampleError]
BUILD_EPOCH = 0


class LocalEngine:
    """Decodes in `workers` processes (0: one a core), scores and samples in the process that it is made in.

    `cache` is a folder where decoded and embedded videos are kept for later builds (cache.py).
    Raises SettingsError and UsageError for a scorer or a cache that cannot be had with these settings.
    """

    def __init__(self, settings: BuildSettings, *, workers: int = 0, cache: Path | None = None) -> None:
        self._settings, self._workers = settings, workers
        self._scorer = make_scorer(settings.score)
        require_embeddings(self._scorer, settings)
        read: Callable[[LocalVideo, DecodeSettings], Video] = read_candidates
        if cache is not None:
            read = open_cache(cache, self._scorer, settings).read
        self._read = partial(timed_read, read)

    def run(self, jobs: Iterable[VideoJob]) -> Generator[VideoResult, None, None]:
        """One result for each job, in their order (engine.py)."""
        decoded = decode_videos(
            ((job, job.path) for job in jobs), self._settings.decode, workers=self._workers, read=self._read
        )
        videos = (
            Decoded(job, read, 0.0) if isinstance(read, SampleError) else Decoded(job, *read)
            for job, read in decoded
        )
        for video, embedded in embed_videos(videos, self._scorer):
            yield video_result(video, embedded, self._scorer, self._settings)


class Decoded(NamedTuple):
    """The video of a job, or why it cannot be decoded, and the seconds that decoding took."""

    job: VideoJob
    video: Video | SampleError
    seconds: float


def video_result(
    decoded: Decoded, embedded: Embedded | None, scorer: Scorer, settings: BuildSettings
) -> VideoResult:
    """Scores and samples of a job's questions, once its video is decoded and, where it can be, embedded."""
    watch, (job, video, seconds) = Stopwatch(), decoded
    watch.add({"decode": seconds, "model": embedded.seconds if embedded else 0.0})
    embeddings = embedded.rows if embedded else None
    results = samples_of(job.rows, video, scorer, settings, embeddings=embeddings, stopwatch=watch)
    known = video.candidates if isinstance(video, CacheMiss) else video
    timed = known.frames if isinstance(known, CacheHit) else known
    return VideoResult(
        job=job,
        results=tuple(results),
        frames=0 if isinstance(timed, SampleError) else len(timed.times),
        from_cache=isinstance(video, CacheHit),
        damaged_entry=video.damaged_entry if isinstance(video, CacheMiss) else None,
        seconds=watch.seconds,
    )


def embed_videos(videos: Iterable[Decoded], scorer: Scorer) -> Iterator[tuple[Decoded, Embedded | None]]:
    """The videos in their order, with embeddings if these are all that the scorer needs of a video.

    Draws videos while the model can take more, and holds at most 32. A video is returned as soon as all
    before it are done.
    """
    if not isinstance(scorer, BatchingScorer):
        yield from ((video, None) for video in videos)
        return
    held: deque[tuple[Decoded, BatchedVideo | None]] = deque()

    def first() -> tuple[Decoded, Embedded | None]:
        video, queued = held.popleft()
        return video, queued.result() if queued else None

    def done() -> Iterator[tuple[Decoded, Embedded | None]]:
        while held and (held[0][1] is None or held[0][1].is_done()):
            yield first()

    with scorer.frame_batcher() as batcher:
        for video in videos:
            held.append((video, _put(batcher, video.video)))
            if len(held) >= MOST_VIDEOS:
                batcher.flush()
                yield first()
            yield from done()
            while batcher.is_full():
                batcher.wait()
                yield from done()
        batcher.flush()
        while held:
            yield first()


def _put(batcher: FrameBatcher, video: Video | SampleError) -> BatchedVideo | None:
    """Queue the frames of a video; None if it needs no embedding, or scoring will refuse its frames."""
    candidates = video.candidates if isinstance(video, CacheMiss) else video
    if not isinstance(candidates, Candidates):
        return None
    try:
        return batcher.put(candidates.frames)
    except SampleError:
        return None


def require_embeddings(scorer: Scorer, settings: BuildSettings) -> None:
    """Raise SettingsError if a setting needs frame embeddings and the scorer gives none, or where grouping
    would change nothing."""
    require_order(settings.sampler)
    grouped = settings.sampler.grouping != "none"
    turned_off = ((grouped, "sampler.grouping", "none"), (settings.shard.embeds, "shard.embeds", "false"))
    for needed, name, off in turned_off:
        if needed and (not isinstance(scorer, FrameEmbedder) or scorer.name == FlatScorer.name):
            raise SettingsError(_no_embeddings(name, settings, f"--set {name}={off}"))


def open_cache(folder: Path, scorer: Scorer, settings: BuildSettings) -> VideoCache:
    """The cache of videos embedded by this scorer. Raises SettingsError for a scorer that reads more than
    frame embeddings, UsageError for a folder that cannot be written."""
    if not isinstance(scorer, EmbeddingScorer):
        raise SettingsError(_no_embeddings("--cache", settings, "leave it out"))
    check_cache_folder(folder)
    return VideoCache(
        folder=folder,
        identity=scorer.embedding_identity(),
        quality=settings.shard.quality,
        embedding_size=scorer.embedding_size(),
    )


def score_video(
    video: Video,
    questions: Sequence[Question],
    scorer: Scorer,
    *,
    quality: int,
    embeddings: Floats | None = None,
) -> tuple[EncodedFrames, Scored]:
    """The encoded frames and one result a question; after a cache miss the entry is written.

    `embeddings` float32 [N, D] are those of the video's frames if already computed (`embed_videos`). Raises
    SampleError for frames that cannot be scored, or not encoded for the cache.
    """
    if isinstance(video, CacheHit):
        if not isinstance(scorer, EmbeddingScorer):
            raise TypeError(f"{scorer.name} was given a cached video, but scores no embeddings")
        return video.frames, scorer.score_embeddings(video.embeddings, questions)
    candidates = video.candidates if isinstance(video, CacheMiss) else video
    encoded = encode_frames(candidates, quality)
    if embeddings is not None and isinstance(scorer, EmbeddingScorer):
        scored = scorer.score_embeddings(embeddings, questions)
    else:
        scored = scorer.score(candidates, questions)
    if isinstance(video, CacheMiss) and video.entry is not None:
        # Where no question was scored, there are no embeddings to write.
        found = next((result.embeddings for result in scored if isinstance(result, FrameScores)), None)
        if found is not None:
            write_entry(video.entry, encoded, found)
    return encoded, scored


def _no_embeddings(what: str, settings: BuildSettings, remedy: str) -> str:
    return (
        f"{what} needs frame embeddings, and the scorer {settings.score.scorer!r} gives none: "
        f"{remedy}, or use a scorer that does (clip, demo)"
    )


def _refuse_after_end(question: Question, duration_seconds: float) -> None:
    """No answer can meet a span that begins after the video. One that only ends after it is left as it is:
    published annotations round up."""
    if question.problem_type != GROUNDING:
        return
    late = [span for span in read_spans(question.answer) or () if span[0] >= duration_seconds]
    if late:
        raise SampleError(
            FailureKind.BAD_ROW,
            f"answer: got {spans_text(late)}, which begins after the end of the video; expected seconds from "
            f"0 to {duration_seconds:.3f}",
        )


def make_sample(
    question: Question, encoded: EncodedFrames, scored: FrameScores, settings: BuildSettings
) -> Sample:
    """Choose the variants of one question and encode the frames of them and the uniform control.

    Raises SampleError: score_failed for scores that are not finite or not one for each candidate,
    encode_failed for a frame that cannot be encoded, bad_row for temporal grounding after the video's end.
    """
    _refuse_after_end(question, encoded.info.duration_seconds)
    count, scores = len(encoded.times), scored.scores
    if scores.shape != (count,) or not np.isfinite(scores).all():
        message = f"scores of shape {scores.shape} for {count} frames, finite: {np.isfinite(scores).all()}"
        raise SampleError(FailureKind.SCORE_FAILED, message)
    sampler, embeddings = settings.sampler, scored.embeddings
    offset = comb_offset(sampler.seed, question.sample_id, BUILD_EPOCH)
    variants = draw(sampler.name, scores, sampler, offset=offset, embeddings=embeddings, times=encoded.times)
    uniform = uniform_indices(count, sampler.frames)
    everything = settings.shard.frames == "all"
    stored = np.arange(count) if everything else np.union1d(variants.ravel(), uniform)
    embeds = clusters = None
    if settings.shard.embeds:
        if embeddings is None:
            raise SettingsError(f"shard.embeds: the scorer {scored.scorer} gives no frame embeddings")
        embeds = embeddings.astype(np.float16)
    if needs_embeddings(sampler) and embeddings is not None:
        clusters = cluster_frames(embeddings, encoded.times, sampler)
    return Sample(
        meta=SampleMeta(
            question=question,
            info=encoded.info,
            sampler=asdict(sampler) | {"phase": offset},
            scorer=scored.scorer,
            query_windows=scored.windows,
        ),
        scores=scores,
        times=encoded.times,
        variants=variants,
        uniform=uniform,
        stored=stored.astype(np.int32),
        jpegs=encoded.jpegs_of(stored),
        embeds=embeds,
        clusters=clusters,
    )


def samples_of(
    rows: Sequence[tuple[int, Question]],
    video: Video | SampleError,
    scorer: Scorer,
    settings: BuildSettings,
    *,
    embeddings: Floats | None = None,
    stopwatch: Stopwatch | None = None,
) -> Iterator[Sample | FailedRow]:
    """A sample or failed row for each row (number, question) of a video; `embeddings` as for
    `score_video`."""
    watch = stopwatch or Stopwatch()
    if isinstance(video, SampleError):
        yield from (failed_row(row, "decode", video) for row in rows)
        return
    questions = [question for _, question in rows]
    try:
        with watch.stage("model"):
            encoded, scored = score_video(
                video, questions, scorer, quality=settings.shard.quality, embeddings=embeddings
            )
    except SampleError as error:
        yield from (failed_row(row, "score", error) for row in rows)
        return
    for row, result in zip(rows, scored, strict=True):
        if isinstance(result, SampleError):
            yield failed_row(row, "score", result)
            continue
        try:
            with watch.stage("encode"):
                sample = make_sample(row[1], encoded, result, settings)
        except SampleError as error:
            yield failed_row(row, "sample", error)
        else:
            yield sample
