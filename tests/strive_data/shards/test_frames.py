from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from strive_data.errors import DamagedError, FailureKind, SampleError
from strive_data.shards.frames import decode_jpeg, encode_frames, encode_jpeg, jpeg_size
from tests.strive_data.made.samples import some_candidates

FRAME = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)


def test_pixels_are_those_that_pillow_reads() -> None:
    jpeg = encode_jpeg(FRAME, 90)
    assert jpeg_size(jpeg) == (56, 28)
    np.testing.assert_array_equal(decode_jpeg(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))
    assert decode_jpeg(jpeg, colours="GRAY").shape == (28, 56, 1)


def test_a_frame_that_is_cut_off_is_damaged() -> None:
    with pytest.raises(DamagedError, match="not a whole JPEG image: Premature end"):
        decode_jpeg(encode_jpeg(FRAME, 90)[:-2])


def test_jpegs_made_side_by_side_are_those_of_their_frames_and_made_once() -> None:
    candidates = some_candidates()
    candidates.frames[:] = np.random.default_rng(0).integers(0, 256, candidates.frames.shape)
    encoded = encode_frames(candidates, 90)
    (first,) = encoded.jpegs_of([3])
    made = encoded.jpegs_of(np.array([8, 3, 8, 0], np.int32))
    assert made == tuple(encode_jpeg(candidates.frames[place], 90) for place in (8, 3, 8, 0))
    assert made[0] is made[2]
    assert made[1] is first
    candidates.frames[:] = 0
    assert encoded.jpegs_of([0, 8]) == (made[3], made[0])


def test_a_frame_that_cannot_be_encoded_fails_among_others() -> None:
    encoded = encode_frames(replace(some_candidates(), frames=np.zeros((10, 4, 4), np.uint8)), 90)
    with pytest.raises(SampleError, match="frame of shape"):
        encoded.jpegs_of([1, 2])


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
