from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from strive_data.errors import FailureKind, SampleError
from strive_data.samplers import phase
from strive_data.sampling import encode_jpeg, make_sample
from strive_data.score import FrameScores
from tests.strive_data.samples import a_question, a_sample, build_settings, some_candidates


def test_the_stored_frames_are_those_that_variants_and_control_need() -> None:
    sample = a_sample()
    assert sample.variants.shape == (2, 4)
    assert sample.uniform.tolist() == [1, 3, 6, 8]
    assert set(sample.stored) == set(sample.variants.ravel()) | {1, 3, 6, 8}
    assert len(sample.jpegs) == len(sample.stored)


def test_each_stored_jpeg_is_the_frame_of_its_candidate() -> None:
    sample = a_sample(frames="all")
    assert sample.holds_all
    for i, jpeg in zip(sample.stored, sample.jpegs, strict=True):
        frame = simplejpeg.decode_jpeg(jpeg)
        assert frame.shape == (28, 56, 3)
        assert abs(int(frame.mean().round()) - 10 * int(i)) <= 1


def test_the_phase_is_recorded_and_keyed_by_the_sample() -> None:
    first, second = a_sample("1"), a_sample("2")
    assert first.meta.sampler["phase"] == phase(0, "1", 0) != second.meta.sampler["phase"]


def test_a_video_with_fewer_frames_than_a_variant_gives_all() -> None:
    assert a_sample(count=3).variants.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("scores", [np.zeros(9, np.float32), np.full(10, np.nan, np.float32)])
def test_unusable_scores_are_a_failure_of_the_sample(scores: np.ndarray) -> None:
    scored = FrameScores(scores=scores, windows=1, scorer="by hand")
    with pytest.raises(SampleError) as caught:
        make_sample(a_question(), some_candidates(), scored, build_settings())
    assert caught.value.kind is FailureKind.SCORE_FAILED


def test_saturated_colours_keep_their_edges() -> None:
    """4:2:0 would mix red and blue over two pixels; stored frames are small, so chroma is kept whole."""
    frame = np.zeros((28, 28, 3), dtype=np.uint8)
    frame[:, ::2, 0], frame[:, 1::2, 2] = 255, 255
    decoded = simplejpeg.decode_jpeg(encode_jpeg(frame, 90))
    assert np.abs(decoded.astype(int) - frame).mean() < 12


def test_a_frame_that_cannot_be_encoded_is_a_failure_of_the_sample() -> None:
    with pytest.raises(SampleError) as caught:
        encode_jpeg(np.zeros((4, 4), dtype=np.uint8), 90)
    assert caught.value.kind is FailureKind.ENCODE_FAILED
