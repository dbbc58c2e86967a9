"""What it refuses is in tests/safety/test_sizes.py."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from strive_data.errors import DamagedError
from strive_data.jpeg import decode_jpeg, jpeg_size
from strive_data.stills import encode_jpeg

FRAME = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)


def test_pixels_are_those_that_pillow_reads() -> None:
    jpeg = encode_jpeg(FRAME, 90)
    assert jpeg_size(jpeg) == (56, 28)
    np.testing.assert_array_equal(decode_jpeg(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))
    assert decode_jpeg(jpeg, colours="GRAY").shape == (28, 56, 1)


def test_a_frame_that_is_cut_off_is_damaged() -> None:
    with pytest.raises(DamagedError, match="not a whole JPEG image: Premature end"):
        decode_jpeg(encode_jpeg(FRAME, 90)[:-2])
