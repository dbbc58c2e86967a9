from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.demo.draw import write_world
from strive_data.engines.cache import CacheHit, CacheMiss
from strive_data.engines.engine import VideoJob, VideoResult, jobs_of, make_engine
from strive_data.engines.local import MOST_VIDEOS, Decoded, LocalEngine, Video, embed_videos
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.schema import Candidates, Floats, Frames, Sample
from strive_data.score import make_scorer
from strive_data.score.scorer import FrameBatcher
from strive_data.shards.format import encode_frames
from tests.strive_data.engines.test_samples import Embeds, Plain
from tests.strive_data.made.samples import a_question, a_sample, some_candidates
from tests.strive_data.made.threads import torch_threads

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=8, max_pixels=784),
    score=ScoreSettings(scorer="demo", batch_size=8),
    sampler=SamplerSettings(frames=4),
)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[VideoJob]:
    """Two videos of two questions each, and between them one that is absent."""
    world = write_world(tmp_path_factory.mktemp("world"), videos=2, questions_per_video=2, seed=5)
    first, second = jobs_of(read_annotations([world], world.parent).questions, world.parent)
    absent = VideoJob(name="absent", path=Path("absent"), rows=((9, a_question("x", video="absent")),))
    return [first, absent, second]


def test_one_result_for_each_row_of_each_job_in_order(jobs: list[VideoJob], tmp_path: Path) -> None:
    engine = LocalEngine(SETTINGS, workers=1, cache=tmp_path)
    done = list(engine.run(jobs))
    assert [each.job for each in done] == jobs
    for each in (done[0], done[2]):
        ids = [result.meta.question.sample_id for result in each.results if isinstance(result, Sample)]
        assert ids == [question.sample_id for _, question in each.job.rows]
        assert (each.frames, each.from_cache) == (8, False)
        assert min(each.seconds[stage] for stage in ("decode", "model", "encode")) > 0
    (lost,) = done[1].results
    assert (lost.row, lost.sample_id, lost.stage, lost.kind) == (9, "x", "decode", "missing")
    assert done[1].frames == 0
    again = list(LocalEngine(SETTINGS, workers=1, cache=tmp_path).run(jobs[2:]))
    assert (again[0].from_cache, again[0].frames) == (True, 8)


def test_what_the_scorer_cannot_do_is_refused_when_the_engine_is_made(tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    settings = BuildSettings(score=ScoreSettings(scorer="precomputed", scores=str(scores)))
    with pytest.raises(SettingsError, match="--cache needs frame embeddings"):
        LocalEngine(settings, cache=tmp_path)


class AtOnce(Executor):
    """Runs a call when it is handed over."""

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*args, **kwargs))
        return future


class Queues(Embeds):
    """Embeds a frame as the mean of its corner, and remembers the sizes of the batches."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.batches: list[int] = []

    def embed_batch(self, frames: Sequence[Frames]) -> Floats:
        self.batches.append(len(frames))
        return np.array([[frame[0, 0].mean()] for frame in frames], np.float32)

    @contextmanager
    def frame_batcher(self) -> Iterator[FrameBatcher]:
        yield FrameBatcher(self.embed_batch, size=self.size, pool=AtOnce(), most_batches=2)


def video(count: int, level: int, width: int = 56) -> Candidates:
    made = some_candidates(count, width=width)
    made.frames[:] = level
    return made


def decoded(name: str, what: Video | SampleError) -> Decoded:
    return Decoded(VideoJob(name=name, path=Path(name), rows=()), what, 0.0)


def test_short_videos_of_any_size_share_batches_and_keep_their_order() -> None:
    scorer = Queues(20)
    videos = [decoded(str(i), video(10, 10 + i, width=28 if i % 2 else 56)) for i in range(9)]
    done = list(embed_videos(videos, scorer))
    assert scorer.batches == [20, 20, 20, 20, 10]
    assert [each for each, _ in done] == videos
    for i, (_, embedded) in enumerate(done):
        assert embedded.rows.tolist() == [[10 + i]] * 10
        assert embedded.seconds > 0
    shares = [embedded.seconds for _, embedded in done if embedded]
    assert shares[0] == shares[1]  # equal shares of one batch


def test_nothing_waits_where_nothing_is_embedded() -> None:
    kept = CacheHit(frames=encode_frames(video(3, 5), 90), embeddings=np.zeros((3, 1), np.float32))
    error = SampleError(FailureKind.MISSING, "gone")
    drawn: list[str] = []

    def source() -> Iterator[Decoded]:
        for name, each in (("kept", kept), ("error", error), ("fresh", video(3, 5)), ("last", error)):
            drawn.append(name)
            yield decoded(name, each)

    stream = embed_videos(source(), Queues(64))
    assert next(stream)[0].job.name == "kept"
    assert drawn == ["kept"]
    assert next(stream)[0].video is error
    assert drawn == ["kept", "error"]
    rest = [(each.job.name, embedded is None) for each, embedded in stream]
    assert rest == [("fresh", False), ("last", True)]
    for scorer in (Plain(), Embeds()):
        assert [embedded for _, embedded in embed_videos(source(), scorer)] == [None] * 4


def test_few_videos_are_held_at_once_however_many_there_are() -> None:
    missed = CacheMiss(candidates=video(1, 5), entry=None, damaged_entry=None)
    scorer = Queues(1000)
    drawn: list[str] = []

    def source() -> Iterator[Decoded]:
        for i in range(100):
            drawn.append(str(i))
            yield decoded(str(i), missed)

    for place, (each, _) in enumerate(embed_videos(source(), scorer)):
        assert each.job.name == str(place)
        assert len(drawn) <= place + MOST_VIDEOS
    assert scorer.batches == [MOST_VIDEOS] * 3 + [4]


def test_a_video_of_many_batches_does_not_wait_for_the_next_one() -> None:
    scorer = Queues(4)
    done = list(embed_videos([decoded("long", video(50, 7)), decoded("short", video(1, 8))], scorer))
    assert [embedded.rows.shape for _, embedded in done if embedded is not None] == [(50, 1), (1, 1)]
    assert scorer.batches == [4] * 12 + [3]


def test_frames_that_cannot_be_embedded_are_left_to_scoring() -> None:
    flat = Candidates(info=video(1, 1).info, frames=np.zeros((4, 8, 8), np.uint8), times=np.arange(4.0))
    done = list(embed_videos([decoded("a", video(4, 1)), decoded("flat", flat)], Queues(64)))
    assert [embedded is None for _, embedded in done] == [False, True]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_frame_has_the_same_bits_among_others(batch_size: int, threads: int) -> None:
    settings = ScoreSettings(scorer="demo", device="cpu", batch_size=batch_size)
    with torch_threads(1):
        alone = make_scorer(settings)
    with torch_threads(threads):
        shared = make_scorer(settings)
    rng = np.random.default_rng(0)
    videos = []
    for i in range(5):
        one = some_candidates(6 + 7 * i, width=28 + 28 * (i % 2))
        one.frames[:] = rng.integers(0, 256, one.frames.shape)
        videos.append(one)
    together = embed_videos([decoded(str(i), one) for i, one in enumerate(videos)], shared)
    for (_, embedded), one in zip(together, videos, strict=True):
        assert embedded.rows.tobytes() == alone.embed_frames(one.frames).tobytes()  # type: ignore[attr-defined]


def test_engines_are_found_by_name() -> None:
    assert isinstance(make_engine("local", BuildSettings(score=ScoreSettings(scorer="demo"))), LocalEngine)
    with pytest.raises(SettingsError, match="unknown engine 'locla', did you mean 'local'"):
        make_engine("locla", BuildSettings())


def test_jobs_and_results_cross_process_boundaries_whole() -> None:
    job = VideoJob(name="a.mp4", path=Path("root/a.mp4"), rows=((3, a_question()),))
    result = VideoResult(job=job, results=(a_sample(),), frames=10, seconds={"model": 1.5})
    again = pickle.loads(pickle.dumps(result))
    assert again.job == job
    assert again.seconds == {"model": 1.5}
    assert again.results[0].jpegs == result.results[0].jpegs  # type: ignore[union-attr]
