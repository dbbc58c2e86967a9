from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from strive_data.errors import FailureKind, SampleError
from strive_data.stills import encode_jpeg, stills_of
from tests.strive_data.samples import some_candidates


def test_a_jpeg_is_encoded_once_and_is_that_of_its_frame() -> None:
    candidates = some_candidates()
    stills = stills_of(candidates, 90)
    assert len(stills.jpegs) == 10
    first = stills.jpegs[3]
    assert first == encode_jpeg(candidates.frames[3], 90) != stills.jpegs[4]
    candidates.frames[:] = 0
    assert stills.jpegs[3] is first
    assert stills.jpegs[2:4] == [encode_jpeg(candidates.frames[2], 90), first]


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
