from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from strive_data.inspect.timeline import (
    CURVE_HEIGHT,
    GUTTER,
    LEAST_THUMBNAIL,
    LEAST_WIDTH,
    LINK_HEIGHT,
    MARGIN,
    timeline,
)
from strive_data.schema import Sample
from tests.strive_data.samples import a_sample

LENGTH = LEAST_WIDTH - GUTTER - MARGIN


def test_moments_stand_on_the_axis_in_proportion_to_their_seconds() -> None:
    sample = a_sample()
    layout = timeline(sample)
    starts = [link.controls[0][0] for link in layout.links[:4]]
    assert starts == pytest.approx([GUTTER + LENGTH * sample.times[i] / 10 for i in sample.variants[0]])
    (evidence,) = layout.boxes
    assert (evidence.left, evidence.width) == pytest.approx((GUTTER + 0.25 * LENGTH, 0.1 * LENGTH))


def test_the_curve_spans_the_scores() -> None:
    """The scores go from -1 at the first candidate to 1 at the last: lowest left, highest right."""
    curve = timeline(a_sample()).lines[0].points
    assert (curve[0][1], curve[-1][1]) == pytest.approx((MARGIN + CURVE_HEIGHT - 2, MARGIN + 2))
    labels = [label.text for label in timeline(a_sample()).labels]
    assert {"1.000", "-1.000", "0.0 s", "10.0 s", "variant 1", "variant 2", "uniform"} <= set(labels)


def test_every_frame_taken_is_linked_to_its_thumbnail_in_order() -> None:
    sample = a_sample()
    layout = timeline(sample)
    rows = [*sample.variants, sample.uniform]
    assert [t.candidate for t in layout.thumbnails] == [int(i) for row in rows for i in row]
    for link, thumbnail in zip(layout.links, layout.thumbnails, strict=True):
        middle = thumbnail.left + layout.thumbnail_size[0] / 2
        assert link.controls[-1] == pytest.approx((middle, thumbnail.top))
        assert thumbnail.top - link.controls[0][1] == pytest.approx(LINK_HEIGHT)
    tops = sorted({t.top for t in layout.thumbnails})
    assert len(tops) == 3
    assert layout.height > tops[-1] + layout.thumbnail_size[1]


def test_thumbnails_keep_the_aspect_and_never_overlap() -> None:
    layout = timeline(a_sample())
    wide, high = layout.thumbnail_size
    assert wide / high == pytest.approx(56 / 28)
    lefts = [t.left for t in layout.thumbnails[:4]]
    assert min(np.diff(lefts)) > wide
    assert lefts[0] >= GUTTER


def many_frames(count: int) -> Sample:
    everything = np.arange(count, dtype=np.int32)
    jpegs = a_sample(count=count, frames="all").jpegs
    return replace(
        a_sample(count=count), variants=everything[None], uniform=everything, stored=everything, jpegs=jpegs
    )


def test_many_frames_make_the_picture_wider_and_no_thumbnail_too_small() -> None:
    layout = timeline(many_frames(24))
    assert layout.width == 24 * LEAST_THUMBNAIL + GUTTER + MARGIN
    assert layout.thumbnail_size[0] == pytest.approx(LEAST_THUMBNAIL * 0.94)
    assert max(t.left for t in layout.thumbnails) + layout.thumbnail_size[0] <= layout.width - MARGIN


def test_flat_scores_and_one_candidate_stand_in_the_middle() -> None:
    flat = replace(a_sample(), scores=np.zeros(10, np.float32))
    assert {y for _, y in timeline(flat).lines[0].points} == {MARGIN + 60}
    assert len(timeline(a_sample(count=1)).thumbnails) == 3
