from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Floats, Frames
from strive_data.score import FrameScores
from strive_data.score.batcher import EmbeddingScorer, FrameBatcher, FrameEmbedder
from strive_data.score.clip import ClipScorer, thread_count, threads
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of


def embed(frames: Sequence[Frames]) -> Floats:
    return np.array([[frame.shape[0], frame[0, 0, 0]] for frame in frames], np.float32)


def frames(count: int, *, level: int, height: int = 2) -> Frames:
    return np.full((count, height, 3, 3), level, np.uint8)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_videos_share_batches_and_get_their_own_rows(pool: ThreadPoolExecutor) -> None:
    queue = FrameBatcher(embed, size=4, pool=pool, most_batches=9)
    first, second = queue.put(frames(6, level=1)), queue.put(frames(3, level=2, height=5))
    assert not second.is_done()  # its last frame waits for others
    queue.flush()
    assert first.result().rows.tolist() == [[2, 1]] * 6
    assert second.result().rows.tolist() == [[5, 2]] * 3
    assert first.is_done()


def test_seconds_are_shared_by_frames(pool: ThreadPoolExecutor) -> None:
    queue = FrameBatcher(embed, size=4, pool=pool, most_batches=9)
    one, three = queue.put(frames(1, level=1)), queue.put(frames(3, level=2))
    assert three.result().seconds == pytest.approx(3 * one.result().seconds)


def test_a_result_that_is_in_no_batch_yet_is_an_error_and_no_dead_lock(pool: ThreadPoolExecutor) -> None:
    queue = FrameBatcher(embed, size=4, pool=pool, most_batches=9)
    with pytest.raises(RuntimeError, match="2 frames are not in a batch"):
        queue.put(frames(6, level=1)).result()


def test_it_is_full_while_so_many_batches_are_not_done(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def slow(batch: Sequence[Frames]) -> Floats:
        go_on.wait(10)
        return embed(batch)

    queue = FrameBatcher(slow, size=2, pool=pool, most_batches=2)
    queue.put(frames(3, level=1))
    assert not queue.is_full()
    video = queue.put(frames(1, level=1))
    assert queue.is_full()
    go_on.set()
    queue.wait()
    assert len(video.result().rows) == 1
    assert not queue.is_full()


def test_what_a_batch_raises_is_raised_to_whoever_waits(pool: ThreadPoolExecutor) -> None:
    def fail(_: Sequence[Frames]) -> Floats:
        raise ValueError("no such weights")

    queue = FrameBatcher(fail, size=1, pool=pool, most_batches=1)
    video = queue.put(frames(1, level=1))
    with pytest.raises(ValueError, match="no such weights"):
        video.result()


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (2, 8, 8, 1)])
def test_frames_of_another_shape_are_refused(pool: ThreadPoolExecutor, shape: tuple[int, ...]) -> None:
    with pytest.raises(SampleError, match=r"expected \[N, H, W, 3\]") as caught:
        FrameBatcher(embed, size=1, pool=pool, most_batches=1).put(np.zeros(shape, np.uint8))
    assert caught.value.kind is FailureKind.SCORE_FAILED


class FramesOnly:
    name = "frames only"

    def score(self, candidates: object, questions: object) -> list[FrameScores]:
        return []


def test_clip_scores_from_its_embeddings_alone_with_the_same_bits(tiny_clip: Path) -> None:
    scorer = ClipScorer(ScoreSettings(model=f"local-dir:{tiny_clip}", pretrained="", device="cpu"))
    assert isinstance(scorer, EmbeddingScorer)
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)
    (scored,) = scorer.score(video_of(frames), [a_question()])
    assert isinstance(scored, FrameScores)
    assert scored.embeddings is not None
    np.testing.assert_array_equal(scored.embeddings, scorer.embed_frames(frames))
    (again,) = scorer.score_embeddings(scored.embeddings, [a_question()])
    assert isinstance(again, FrameScores)
    assert again.scores.tobytes() == scored.scores.tobytes()


def test_a_scorer_that_only_scores_frames_is_no_embedder() -> None:
    assert not isinstance(FramesOnly(), FrameEmbedder)


def test_each_batch_has_one_thread_and_the_setting_is_put_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threads(3) as pool:
            assert torch.get_num_threads() == 1
            assert list(pool.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_has_not_started_is_cancelled_at_the_end() -> None:
    go_on, started = threading.Event(), list[int]()

    def work(number: int) -> None:
        started.append(number)
        go_on.wait(10)

    with threads(1) as pool:
        futures = [pool.submit(work, number) for number in range(50)]
        threading.Timer(0.05, go_on.set).start()
    assert futures[0].done()
    assert sum(future.cancelled() for future in futures) == 50 - len(started) > 0


def test_a_gpu_has_few_threads_and_a_cpu_all() -> None:
    assert thread_count(torch.device("cpu"), 16) == 16
    assert thread_count(torch.device("cpu"), None) == torch.get_num_threads()
    assert thread_count(torch.device("cuda"), 16) == 4
