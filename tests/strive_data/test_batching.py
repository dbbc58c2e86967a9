from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from strive_data.batching import MOST_VIDEOS, embed_together
from strive_data.cache import KeptVideo, MissedVideo
from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Frames
from strive_data.score import make_scorer
from strive_data.stills import stills_of
from tests.strive_data.samples import some_candidates
from tests.strive_data.test_scoring import Embeds, Plain


class Counts(Embeds):
    """Remembers how many frames came in each call; refuses a call with a black frame."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def embed_frames(self, frames: Frames) -> Floats:
        self.calls.append(len(frames))
        if not frames.any(axis=(1, 2, 3)).all():
            raise SampleError(FailureKind.SCORE_FAILED, "a black frame")
        return super().embed_frames(frames)


def video(count: int, level: int, width: int = 56) -> Candidates:
    made = some_candidates(count, width=width)
    made.frames[:] = level
    return made


def test_short_videos_fill_batches_together_and_keep_their_order() -> None:
    scorer = Counts()
    videos = [(str(i), video(10, 10 + i)) for i in range(9)]
    done = list(embed_together(videos, scorer, batch_size=10))
    assert scorer.calls == [40, 40, 10]
    assert [each.name for each in done] == [str(i) for i in range(9)]
    for i, each in enumerate(done):
        assert each.embeddings is not None
        assert each.embeddings.tolist() == [[10 + i]] * 10
        assert each.model_seconds > 0
    assert done[0].model_seconds == done[3].model_seconds  # equal shares of one call


def test_videos_of_other_sizes_are_not_mixed_into_one_array() -> None:
    videos = [("a", video(4, 1)), ("b", video(4, 2, width=28)), ("c", video(4, 3))]
    scorer = Counts()
    done = list(embed_together(videos, scorer, batch_size=64))
    assert scorer.calls == [8, 4]
    assert [each.embeddings[0, 0] for each in done if each.embeddings is not None] == [1, 2, 3]


def test_nothing_waits_where_nothing_is_embedded() -> None:
    kept = KeptVideo(stills=stills_of(video(3, 5), 90), embeddings=np.zeros((3, 1), np.float32))
    error = SampleError(FailureKind.MISSING, "gone")
    drawn: list[str] = []

    def source() -> Iterator[tuple[str, KeptVideo | SampleError | Candidates]]:
        for name, each in (("kept", kept), ("error", error), ("fresh", video(3, 5)), ("last", error)):
            drawn.append(name)
            yield name, each

    stream = embed_together(source(), Counts(), batch_size=64)
    assert next(stream).name == "kept"
    assert drawn == ["kept"]
    assert next(stream).video is error
    assert drawn == ["kept", "error"]
    assert [(each.name, each.embeddings is None) for each in stream] == [("fresh", False), ("last", True)]
    plain = embed_together(source(), Plain(), batch_size=64)
    assert [each.embeddings for each in plain] == [None] * 4


def test_few_videos_are_held_at_once_however_many_there_are() -> None:
    missed = MissedVideo(candidates=video(1, 5), entry=None, damaged=None)
    scorer = Counts()
    list(embed_together(((str(i), missed) for i in range(100)), scorer, batch_size=64))
    assert scorer.calls == [MOST_VIDEOS] * 3 + [4]


def test_a_video_that_cannot_be_embedded_leaves_the_others_to_be_scored_alone() -> None:
    done = list(embed_together([("a", video(4, 1)), ("black", video(4, 0))], Counts(), batch_size=64))
    assert [each.embeddings for each in done] == [None, None]


@pytest.mark.parametrize("batch_size", [8, 64])
def test_a_frame_has_the_same_bits_among_others(batch_size: int) -> None:
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu", batch_size=batch_size))
    rng = np.random.default_rng(0)
    videos = []
    for i in range(5):
        one = some_candidates(6 + 7 * i, width=28)
        one.frames[:] = rng.integers(0, 256, one.frames.shape)
        videos.append((str(i), one))
    for each, (_, one) in zip(embed_together(videos, scorer, batch_size=batch_size), videos, strict=True):
        assert each.embeddings is not None
        assert each.embeddings.tobytes() == scorer.embed_frames(one.frames).tobytes()  # type: ignore[attr-defined]
