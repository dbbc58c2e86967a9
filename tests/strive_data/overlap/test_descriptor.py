from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from strive_data.overlap.descriptor import COSINES, FREQUENCIES, SIDE, VIEWS, describe

RNG = np.random.default_rng(0)


def a_scene(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Soft grey blobs, as large shapes of a photograph."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_there_are_31_views_and_the_first_is_the_whole_frame() -> None:
    assert len(VIEWS) == len(set(VIEWS)) == 31
    assert VIEWS[0] == ((0, SIDE), (0, SIDE))
    assert all(0 <= a < b <= SIDE for view in VIEWS for a, b in view)


def test_waves_are_orthonormal() -> None:
    for length, rows in COSINES.items():
        assert rows.shape == (FREQUENCIES, length)
        np.testing.assert_allclose(rows @ rows.T, np.eye(FREQUENCIES), atol=1e-12)


def test_descriptors_are_of_unit_length_and_deterministic() -> None:
    frame = a_scene(0)
    vectors = describe(frame)
    assert vectors.shape == (31, 64)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(31), abs=1e-6)
    assert describe(frame).tobytes() == vectors.tobytes()
    assert describe(np.repeat(frame[..., None], 3, axis=2)) @ vectors[0] == pytest.approx(
        vectors @ vectors[0], abs=1e-3
    )


def test_brightness_contrast_and_size_change_nothing() -> None:
    frame = a_scene(1)
    darker = (frame * 0.5 + 20).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(frame).resize((160, 120), Image.Resampling.BOX))
    for other in (darker, smaller):
        assert describe(frame)[0] @ describe(other)[0] > 0.99


def test_a_crop_looks_like_a_view_of_the_whole_and_not_like_the_whole() -> None:
    frame = a_scene(2)
    crop = frame[36:228, 48:304]  # .8 of each side, off centre
    whole, part = describe(frame), describe(crop)[0]
    assert (whole @ part).max() > 0.8
    assert whole[0] @ part < 0.6


def test_other_scenes_are_far_in_every_view() -> None:
    vectors = [describe(a_scene(seed)) for seed in range(10)]
    worst = max((a @ b[0]).max() for i, a in enumerate(vectors) for j, b in enumerate(vectors) if i != j)
    assert worst < 0.75


def test_a_flat_view_is_like_nothing() -> None:
    flat = np.full((100, 100), 17, dtype=np.uint8)
    assert not describe(flat).any()
    half = flat.copy()
    half[:, :20] = 200
    vectors = describe(half)
    lengths = np.linalg.norm(vectors, axis=1)
    assert set(lengths.round(5)) == {0.0, 1.0}
    assert lengths[0] == pytest.approx(1)
