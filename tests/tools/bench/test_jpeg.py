from __future__ import annotations

import numpy as np
import pytest

from tools.bench.jpeg import CODECS, rates

Y, X = np.mgrid[0:56, 0:84]
FRAME = np.stack([Y * 4, X * 3, Y + X], axis=-1).astype(np.uint8)


# torchvision's own functions warn that a later release will not have them: a reason more for another library.
@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize("name", CODECS)
def test_each_library_gives_the_picture_back(name: str) -> None:
    encode, decode = CODECS[name]
    shown = decode(encode(FRAME))
    assert shown.shape == FRAME.shape
    assert np.abs(shown.astype(int) - FRAME).mean() < 2


def test_rates_are_of_all_frames() -> None:
    found = rates([FRAME, FRAME], {"simplejpeg": CODECS["simplejpeg"]}, rounds=2)
    encoded, decoded, size_bytes = found["simplejpeg"]
    assert min(encoded, decoded) > 0
    assert size_bytes == len(CODECS["simplejpeg"][0](FRAME))
