from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.config import ViewSettings
from strive_data.errors import SettingsError
from strive_data.sampling.spatial import (
    SpatialView,
    allowed_kinds,
    choose_views,
    crop_frames,
    cropped_frames,
    resize_frames,
    view_frames,
    view_size,
)
from tests.strive_data.made.samples import a_question

ALL = ViewSettings(crop=True, tiers=("coarse", "sharp"), pixels=128 * 28 * 28)
CROP = SpatialView(kind="crop", side=0.6, left=0.4, top=0.2)
crops = st.integers(60, 99).flatmap(
    lambda side: st.builds(
        SpatialView,
        kind=st.just("crop"),
        side=st.just(side / 100),
        left=st.integers(0, 100 - side).map(lambda part: part / 100),
        top=st.integers(0, 100 - side).map(lambda part: part / 100),
    )
)


def kinds(question: str, **changes: object) -> tuple[str, ...]:
    asked = a_question(question=question, **({"options": ()} | changes))
    return allowed_kinds(asked, ALL)


def ramp(frames: int, height: int = 60, width: int = 100) -> np.ndarray:
    """Red grows to the right, green downwards, blue is the number of the frame."""
    out = np.zeros((frames, height, width, 3), dtype=np.uint8)
    out[..., 0] = np.arange(width) * 2
    out[..., 1] = np.arange(height)[:, None] * 4
    out[..., 2] = np.arange(frames)[:, None, None]
    return out


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        ("What does the man cook?", ("crop", "coarse", "sharp")),
        ("What stands left of the car?", ("coarse", "sharp")),
        ("How many dogs are there?", ("coarse", "sharp")),
        ("What is the number of dogs?", ("sharp",)),
        ("What is BEHIND the tree?", ("coarse", "sharp")),
        ("Who is in the top corner?", ("coarse", "sharp")),
        ("Which word is written on the bus?", ("crop", "sharp")),
        ("What does the sign say?", ("crop", "sharp")),
        ("Read the text at the bottom.", ("sharp",)),
        ("Why is the upright man thrilled?", ("crop", "coarse", "sharp")),
        ("Wo steht der Mann hinter der Tür?", ()),
        ("男人在做什么？", ()),
    ],
)
def test_views_that_could_change_the_answer_are_off(question: str, allowed: tuple[str, ...]) -> None:
    assert kinds(question) == allowed


def test_options_and_problem_types_are_guarded_too() -> None:
    assert kinds("Which is true?", options=("A. He turns left", "B. He runs")) == ("coarse", "sharp")
    assert kinds("Which is true?", options=("A. The title is red",)) == ("crop", "sharp")
    assert kinds("Which one?", problem_type="numerical") == ("coarse", "sharp")
    assert kinds("Which one?", problem_type="regression") == ("coarse", "sharp")
    assert kinds("Which one?", problem_type="OCR") == ("crop", "sharp")


def test_views_are_off_by_default_and_settings_are_checked() -> None:
    assert allowed_kinds(a_question(question="What?", options=()), ViewSettings()) == ()
    with pytest.raises(SettingsError, match=r"0\.6 to 0\.95"):
        ViewSettings(crop_least_side=0.5)
    with pytest.raises(SettingsError, match="did you mean 'sharp'"):
        ViewSettings(tiers=("shrap",))
    with pytest.raises(SettingsError, match=r"sharp needs views\.pixels"):
        ViewSettings(tiers=("sharp",))


def chosen(sample_id: str, epoch: int = 0, seed: int = 0, variants: int = 4) -> tuple[SpatialView, ...]:
    return choose_views(
        ("crop", "coarse"), ALL, variants=variants, seed=seed, sample_id=sample_id, epoch=epoch
    )


def test_views_follow_from_seed_sample_and_epoch_alone() -> None:
    assert chosen("a") == chosen("a")
    assert len({chosen("a"), chosen("b"), chosen("a", epoch=1), chosen("a", seed=1)}) == 4
    assert [str(view) for view in chosen("a", variants=8)] == [
        "whole",
        "tier coarse",
        "tier coarse",
        "whole",
        "whole",
        "whole",
        "tier coarse",
        "whole",
    ]


def test_the_first_variant_is_whole_and_the_others_take_every_kind_equally_often() -> None:
    drawn = [chosen(str(i)) for i in range(1000)]
    assert {views[0] for views in drawn} == {SpatialView()}
    counts = Counter(view.kind for views in drawn for view in views[1:])
    assert set(counts) == {"whole", "crop", "coarse"}
    assert all(abs(count - 1000) < 5 * np.sqrt(3000 * 2 / 9) for count in counts.values())
    sides = [view.side for views in drawn for view in views if view.kind == "crop"]
    assert (min(sides), max(sides)) == (0.6, 0.99)
    assert choose_views((), ALL, variants=2, seed=0, sample_id="a", epoch=0) == (SpatialView(),) * 2


@given(st.integers(0, 10_000), st.floats(0.6, 0.95))
def test_a_crop_lies_within_the_frame_and_shows_enough(number: int, least: float) -> None:
    settings = ViewSettings(crop=True, crop_least_side=least)
    made = choose_views(("crop",), settings, variants=6, seed=1, sample_id=str(number), epoch=0)
    for view in made:
        if view.kind == "crop":
            assert view.side >= least - 1e-6
            assert min(view.left, view.top) >= 0
            assert max(view.left, view.top) + view.side <= 1 + 1e-9


def test_a_view_in_words() -> None:
    views = [SpatialView(), SpatialView(kind="sharp"), SpatialView(kind="crop", side=0.7, left=0.1, top=0.25)]
    assert [str(view) for view in views] == ["whole", "tier sharp", "crop 0.70 at 0.10,0.25"]


@given(st.integers(1, 40), crops)
def test_a_crop_keeps_at_least_half_of_the_frames_whole_and_all_in_order(
    frames: int, view: SpatialView
) -> None:
    original = ramp(frames)
    shown = crop_frames(original, view)
    assert shown.shape == original.shape
    whole = [k for k in range(frames) if np.array_equal(shown[k], original[k])]
    assert 2 * len(whole) >= frames
    assert [k for k in range(frames) if k not in whole] == cropped_frames(frames)
    assert np.array_equal(shown[:, 5, 5, 2], np.arange(frames))
    for k in range(0, frames - 1, 2):
        assert (k in whole) == (k + 1 in whole)


@given(crops)
def test_a_crop_keeps_left_from_right_and_up_from_down(view: SpatialView) -> None:
    frame = crop_frames(ramp(4), view)[2].astype(int)
    assert (np.diff(frame[30, :, 0]) >= 0).all()
    assert frame[30, -1, 0] > frame[30, 0, 0]
    assert (np.diff(frame[:, 50, 1]) >= 0).all()
    assert frame[-1, 50, 1] > frame[0, 50, 1]


def test_a_crop_shows_its_window_at_the_frames_aspect() -> None:
    """Of the ramp 0..198 over 100 columns, .6 from .4 on: 80 at the left edge, 198 at the right one."""
    frame = crop_frames(ramp(4), CROP)[3].astype(int)
    assert (frame[0, 0, 0], frame[0, -1, 0]) == (pytest.approx(80, abs=2), pytest.approx(198, abs=2))
    assert (frame[0, 0, 1], frame[-1, 0, 1]) == (pytest.approx(48, abs=2), pytest.approx(188, abs=4))
    disc = np.zeros((4, 120, 200, 3), dtype=np.uint8)
    y, x = np.mgrid[:120, :200]
    disc[:, (y - 60) ** 2 + (x - 120) ** 2 < 20**2] = 255
    seen = crop_frames(disc, SpatialView(kind="crop", side=0.6, left=0.3, top=0.2))[2, :, :, 0] > 127
    high, wide = np.ptp(np.flatnonzero(seen.any(axis=1))), np.ptp(np.flatnonzero(seen.any(axis=0)))
    assert high == pytest.approx(wide, abs=1)
    assert high == pytest.approx(39 / 0.6 - 1, abs=1)


def test_resizing_keeps_order_and_number() -> None:
    small = resize_frames(ramp(3), (50, 30)).astype(int)
    assert small.shape == (3, 30, 50, 3)
    assert (np.diff(small[0, 15, :, 0]) > 0).all()
    assert (np.diff(small[0, :, 25, 1]) > 0).all()
    frames = ramp(2)
    assert resize_frames(frames, (100, 60)) is frames


def test_tiers_by_hand() -> None:
    """336×252 is 12×9 cells; half its pixels are 8×6 cells, which 32 frames' cells pay 72 times."""
    settings = ViewSettings(tiers=("coarse",))
    stored = (336, 252)
    assert view_size("whole", stored, settings, 28) == stored
    assert view_size("crop", stored, settings, 28) == stored
    coarse = view_size("coarse", stored, settings, 28)
    assert coarse == (8 * 28, 6 * 28)
    assert view_frames(32, stored, coarse) == 72
    sharp = ViewSettings(tiers=("sharp",), pixels=54 * 28 * 28)
    assert view_size("whole", stored, sharp, 28) == coarse
    assert view_size("sharp", stored, sharp, 28) == stored
    assert view_frames(32, coarse, stored) == 14


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 64), st.integers(1, 200))
def test_no_tier_costs_more_or_enlarges(columns: int, rows: int, pairs: int, cells: int) -> None:
    stored = (columns * 28, rows * 28)
    settings = ViewSettings(tiers=("coarse", "sharp"), pixels=cells * 784)
    base = view_size("whole", stored, settings, 28)
    for kind in ("coarse", "sharp"):
        size = view_size(kind, stored, settings, 28)
        assert size[0] <= stored[0]
        assert size[1] <= stored[1]
        frames = view_frames(2 * pairs, base, size)
        assert frames % 2 == 0
        cost = frames * size[0] * size[1]
        assert cost <= 2 * pairs * base[0] * base[1] or frames == 2


def test_a_mirrored_frame_would_be_seen() -> None:
    """Negative control of the order that the tests above ask for."""
    mirrored = crop_frames(ramp(4), CROP)[2][::-1, ::-1].astype(int)
    assert mirrored[30, -1, 0] < mirrored[30, 0, 0]
    assert mirrored[-1, 50, 1] < mirrored[0, 50, 1]
