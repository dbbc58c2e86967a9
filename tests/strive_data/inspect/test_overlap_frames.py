from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strive_data.config import ScoreSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.overlap_frames import (
    COSINES,
    FREQUENCIES,
    SIDE,
    VIEWS,
    describe,
    embed_by,
    read_video_vectors,
    stored_frames,
)
from strive_data.schema import Sample
from strive_data.shards.format import encode_jpeg
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample

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


DEMO = ScoreSettings(scorer="demo", batch_size=16)


def in_video(sample_id: str, video: str, **changes: object) -> Sample:
    sample = a_sample(sample_id, **changes)  # type: ignore[arg-type]
    return replace(sample, meta=replace(sample.meta, question=a_question(sample_id, video=video)))


def test_samples_of_a_video_are_read_together_and_videos_apart(tmp_path: Path) -> None:
    samples = [in_video("1", "a"), in_video("2", "b"), in_video("3", "a", frames="all")]
    folder = write_build(tmp_path / "built", samples)
    video = list(read_video_vectors(folder, embed_by("picture", ScoreSettings())))
    assert [(f.video, f.samples) for f in video] == [("a", 2), ("b", 1)]
    assert video[0].times.tolist() == samples[0].times.tolist()
    assert video[1].times.tolist() == samples[1].times[samples[1].stored].tolist()
    assert video[0].vectors.shape == (10, 31, 64)
    assert video[0].spacing_seconds == pytest.approx(1)


def test_frames_stand_in_the_order_of_time_each_once() -> None:
    first, second = a_sample("1"), a_sample("2", frames="all")
    frames = stored_frames([first, second])
    assert list(frames) == list(range(10))
    assert list(frames.values()) == list(second.jpegs)


def test_stored_embeddings_are_those_of_all_candidates(tmp_path: Path) -> None:
    embeds = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float16)
    folder = write_build(tmp_path / "with", [replace(a_sample(), embeds=embeds)])
    (video,) = read_video_vectors(folder, embed_by("stored", ScoreSettings()))
    assert video.vectors.shape == (10, 1, 8)
    assert np.linalg.norm(video.vectors, axis=2) == pytest.approx(np.ones((10, 1)), abs=1e-6)
    without = write_build(tmp_path / "without", [a_sample()])
    with pytest.raises(UsageError, match=r"no embeddings; build with --set shard.embeds=true"):
        list(read_video_vectors(without, embed_by("stored", ScoreSettings())))


def test_a_scorer_embeds_the_stored_frames(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    sample = a_sample(frames="all")
    sample = replace(sample, jpegs=(*sample.jpegs[:9], encode_jpeg(noise, 90)))
    (video,) = read_video_vectors(write_build(tmp_path / "b", [sample]), embed_by("demo", DEMO))
    assert video.vectors.shape == (10, 1, 64)
    assert video.vectors[9, 0] @ video.vectors[8, 0] < 0.99 < video.vectors[8, 0] @ video.vectors[7, 0]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown scorer 'clap'"):
        embed_by("clap", ScoreSettings(scorer="clap"))
    with pytest.raises(UsageError, match="no samples"):
        list(read_video_vectors(write_build(tmp_path / "none", []), embed_by("picture", ScoreSettings())))
    with pytest.raises(UsageError, match="no such folder"):
        list(read_video_vectors(tmp_path / "x", embed_by("picture", ScoreSettings())))
