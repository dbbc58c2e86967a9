from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simplejpeg

from strive_data.config import BuildSettings, SamplerSettings, ShardSettings
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.samplers import phase
from strive_data.sampling import make_sample
from strive_data.score import FrameScores
from strive_data.stills import stills_of
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
        make_sample(a_question(), stills_of(some_candidates(), 90), scored, build_settings())
    assert caught.value.kind is FailureKind.SCORE_FAILED


def grouped(**shard: object) -> BuildSettings:
    return BuildSettings(
        sampler=SamplerSettings(frames=4, variants=2, grouping="semantic", grouping_clusters=2),
        shard=ShardSettings(**shard),  # type: ignore[arg-type]
    )


def scored_with_embeddings() -> FrameScores:
    """Ten frames of two kinds in turns of five."""
    embeddings = np.repeat(np.eye(2, 3, dtype=np.float32), 5, axis=0)
    return FrameScores(
        scores=np.linspace(0, 1, 10, dtype=np.float32), windows=1, scorer="x", embeddings=embeddings
    )


def test_grouping_gets_the_embeddings_and_its_clusters_stay_with_the_sample() -> None:
    sample = make_sample(a_question(), stills_of(some_candidates(), 90), scored_with_embeddings(), grouped())
    assert sample.clusters is not None
    assert sample.clusters.tolist() == [0] * 5 + [1] * 5
    assert sample.embeds is None
    assert a_sample().clusters is None


def test_embeddings_are_stored_as_half_floats_where_asked_for() -> None:
    scored = scored_with_embeddings()
    sample = make_sample(a_question(), stills_of(some_candidates(), 90), scored, grouped(embeds=True))
    assert sample.embeds is not None
    assert sample.embeds.dtype == np.float16
    np.testing.assert_array_equal(sample.embeds, np.repeat(np.eye(2, 3), 5, axis=0))
    without = replace(scored, embeddings=None)
    with pytest.raises(SettingsError, match="gives no frame embeddings"):
        make_sample(a_question(), stills_of(some_candidates(), 90), without, build_settings(embeds=True))
