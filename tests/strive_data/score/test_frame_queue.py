from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Floats, Frames
from strive_data.score.frame_queue import FrameQueue


def embed(frames: Sequence[Frames]) -> Floats:
    return np.array([[frame.shape[0], frame[0, 0, 0]] for frame in frames], np.float32)


def frames(count: int, *, level: int, height: int = 2) -> Frames:
    return np.full((count, height, 3, 3), level, np.uint8)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_videos_share_batches_and_get_their_own_rows(pool: ThreadPoolExecutor) -> None:
    queue = FrameQueue(embed, size=4, pool=pool, most_batches=9)
    first, second = queue.put(frames(6, level=1)), queue.put(frames(3, level=2, height=5))
    assert not second.is_done()  # its last frame waits for others
    queue.flush()
    assert first.result().rows.tolist() == [[2, 1]] * 6
    assert second.result().rows.tolist() == [[5, 2]] * 3
    assert first.is_done()


def test_seconds_are_shared_by_frames(pool: ThreadPoolExecutor) -> None:
    queue = FrameQueue(embed, size=4, pool=pool, most_batches=9)
    one, three = queue.put(frames(1, level=1)), queue.put(frames(3, level=2))
    assert three.result().seconds == pytest.approx(3 * one.result().seconds)


def test_asking_for_what_is_in_no_batch_yet_is_an_error_and_no_dead_lock(pool: ThreadPoolExecutor) -> None:
    queue = FrameQueue(embed, size=4, pool=pool, most_batches=9)
    with pytest.raises(RuntimeError, match="2 frames are not in a batch"):
        queue.put(frames(6, level=1)).result()


def test_it_is_full_while_so_many_batches_are_not_done(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def slow(batch: Sequence[Frames]) -> Floats:
        go_on.wait(10)
        return embed(batch)

    queue = FrameQueue(slow, size=2, pool=pool, most_batches=2)
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

    queue = FrameQueue(fail, size=1, pool=pool, most_batches=1)
    video = queue.put(frames(1, level=1))
    with pytest.raises(ValueError, match="no such weights"):
        video.result()


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (2, 8, 8, 1)])
def test_frames_of_another_shape_are_refused(pool: ThreadPoolExecutor, shape: tuple[int, ...]) -> None:
    with pytest.raises(SampleError, match=r"expected \[N, H, W, 3\]") as caught:
        FrameQueue(embed, size=1, pool=pool, most_batches=1).put(np.zeros(shape, np.uint8))
    assert caught.value.kind is FailureKind.SCORE_FAILED
