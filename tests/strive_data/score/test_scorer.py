from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.config import ScoreSettings
from strive_data.engines.cache import FRAMES_ONLY
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Floats, Frames, Question
from strive_data.score import FrameScores, make_scorer
from strive_data.score.clip import ClipScorer, thread_count, threads
from strive_data.score.registry import NoisyScorer
from strive_data.score.scorer import (
    BatchingScorer,
    EmbeddingScorer,
    FlatScorer,
    FrameBatcher,
    FrameEmbedder,
    join_windows,
    query_text,
    split_query,
)
from tests.strive_data.made.samples import a_question, some_candidates
from tests.strive_data.made.threads import torch_threads
from tests.strive_data.score.videos import video_of


def test_scores_without_embeddings_are_the_least_that_a_scorer_gives() -> None:
    made = FrameScores(scores=np.arange(3, dtype=np.float32), windows=1, scorer="by hand")
    assert made.embeddings is None
    assert made != FrameScores(scores=made.scores, windows=1, scorer="by hand")  # arrays are not compared
    with pytest.raises(FrozenInstanceError):
        made.windows = 2  # type: ignore[misc]


def test_all_frames_score_alike_and_have_embeddings_of_no_width() -> None:
    scorer = make_scorer(ScoreSettings(scorer="flat"))
    assert isinstance(scorer, EmbeddingScorer)
    assert not isinstance(scorer, BatchingScorer)
    candidates = some_candidates()
    count = len(candidates.times)
    results = scorer.score(candidates, [a_question(), a_question()])
    assert len(results) == 2
    for made in results:
        assert made.scores.tolist() == [0.0] * count
        assert made.scores.dtype == np.float32
        assert made.embeddings.shape == (count, 0)
    assert scorer.embedding_identity() == FRAMES_ONLY


def test_noise_has_its_size_and_depends_on_the_sample_alone() -> None:
    noisy, candidates = NoisyScorer(FlatScorer(), 0.8), some_candidates(400)
    first, second = noisy.score(candidates, [a_question("a"), a_question("b")])
    (again,) = NoisyScorer(FlatScorer(), 0.8).score(candidates, [a_question("a")])
    assert first.scores.dtype == np.float32
    assert first.scores.std() == pytest.approx(0.8, rel=0.1)
    assert (first.scores == again.scores).all()
    assert (first.scores != second.scores).any()
    assert first.scorer == noisy.name == "flat+noise0.8"
    assert isinstance(noisy, FrameEmbedder)  # as the scorer that it disturbs: its frames can be grouped


def words(text: str) -> int:
    """One token a word."""
    return len(text.split())


def letters(text: str) -> int:
    """One token a byte that is not a space."""
    return len(text.replace(" ", "").encode())


def question(*options: str) -> Question:
    return a_question(question=" What? ", options=options)


def test_the_query_has_the_options_where_it_should() -> None:
    asked = question("A. red", "B. blue")
    assert query_text(asked, "question") == "What?"
    assert query_text(asked, "question+options") == "What? A. red B. blue"
    assert query_text(question(), "question+options") == "What?"


@pytest.mark.parametrize(
    ("text", "count", "capacity", "overlap", "windows"),
    [
        ("a  b\nc", words, 3, 1, ["a  b\nc"]),
        ("", words, 3, 1, [""]),
        ("a b c d e f g", words, 3, 1, ["a b c", "c d e", "e f g"]),
        ("a b c d e f g", words, 3, 0, ["a b c", "d e f", "g"]),
        ("aa bb cccc d", letters, 4, 2, ["aa bb", "cccc", "d"]),
    ],
    ids=["short", "empty", "overlap", "no overlap", "repeated words give way to a long one"],
)
def test_windows_of_whole_words(
    text: str, count: Callable[[str], int], capacity: int, overlap: int, windows: list[str]
) -> None:
    assert split_query(text, count=count, capacity=capacity, overlap=overlap) == windows


def test_a_word_longer_than_a_window_is_cut_between_characters() -> None:
    windows = split_query("x" * 10, count=letters, capacity=4, overlap=0)
    assert "".join(windows).replace(" ", "") == "x" * 10
    assert max(map(letters, windows)) <= 4


def test_a_character_that_no_window_holds_is_an_error_of_the_sample() -> None:
    with pytest.raises(SampleError, match="takes 4 tokens, the text encoder's window holds 3"):
        split_query("ab 🎉", count=letters, capacity=3, overlap=0)


@settings(max_examples=100)
@given(text=st.text(max_size=120), capacity=st.integers(4, 20), overlap=st.integers(0, 12))
def test_every_character_is_seen_and_none_is_cut_off(text: str, capacity: int, overlap: int) -> None:
    windows = split_query(text, count=letters, capacity=capacity, overlap=overlap)
    assert all(letters(window) <= capacity for window in windows)
    assert is_subsequence("".join(text.split()), "".join("".join(windows).split()))


def is_subsequence(short: str, long: str) -> bool:
    rest = iter(long)
    return all(character in rest for character in short)


def test_clip_sees_every_token_of_a_query_of_300() -> None:
    tokenizer = open_clip.SimpleTokenizer()

    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    text = " ".join(f"what is number {number} doing here" for number in range(1, 51))
    assert count(text) >= 300
    windows = split_query(text, count=count, capacity=75, overlap=8)
    ids = tokenizer(windows).tolist()
    seen: list[list[int]] = [[token for token in row if token != 0][1:-1] for row in ids]
    assert all(len(row) <= 75 for row in seen)
    assert [len(row) for row in seen] == [count(window) for window in windows]
    rebuilt = seen[0]
    for row in seen[1:]:
        shared = max(k for k in range(9) if rebuilt[len(rebuilt) - k :] == row[:k])
        assert 1 <= shared <= 8
        rebuilt = rebuilt + row[shared:]
    assert rebuilt == tokenizer.encode(text)


def test_mean_is_renormalised_and_max_keeps_all() -> None:
    windows_WD = np.array([[1, 0], [0, 1]], dtype=np.float32)
    mean_1D = join_windows(windows_WD, "mean")
    assert mean_1D.tolist() == [pytest.approx([np.sqrt(0.5), np.sqrt(0.5)])]
    assert mean_1D.dtype == np.float32
    assert join_windows(windows_WD, "max").tolist() == [[1, 0], [0, 1]]
    assert join_windows(windows_WD[:1], "mean").tolist() == [[1, 0]]


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


def test_clip_scores_from_its_embeddings_alone_with_the_same_bits(tiny_clip: Path) -> None:
    scorer = ClipScorer(ScoreSettings(model=f"local-dir:{tiny_clip}", pretrained="", device="cpu"))
    assert isinstance(scorer, EmbeddingScorer)
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)
    (scored,) = scorer.score(video_of(frames), [a_question()])
    assert scored.embeddings is not None
    np.testing.assert_array_equal(scored.embeddings, scorer.embed_frames(frames))
    (again,) = scorer.score_embeddings(scored.embeddings, [a_question()])
    assert again.scores.tobytes() == scored.scores.tobytes()


def test_each_batch_has_one_thread_and_the_setting_is_put_back() -> None:
    with torch_threads(2):
        with threads(3) as pool:
            assert torch.get_num_threads() == 1
            assert list(pool.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
        assert torch.get_num_threads() == 2


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
    with torch_threads(16):
        assert thread_count(torch.device("cpu")) == 16
        assert thread_count(torch.device("cuda")) == 4
