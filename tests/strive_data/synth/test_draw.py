from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from strive_data.synth.draw import RGB, SIDE_PIXELS, draw_frame
from strive_data.synth.plan import COLOURS, SHAPES, Thing, VideoPlan

GREY = (90, 90, 90)
BLANK = VideoPlan(frames=8, things=(), asked=(), background=(GREY, GREY), drift=(0.0, 0.0))


def still(shape: str, colour: str, *, size: float = 0.5) -> Thing:
    return Thing(
        shape=shape,
        colour=colour,
        start=1.0,
        stop=2.0,
        size=size,
        centre=(0.5, 0.5),
        reach=(0.0, 0.0),
        turns_per_second=0.0,
        phase=0.0,
        marked=True,
    )


def painted(shape: str, colour: str, *, size: float = 0.5) -> np.ndarray:
    return draw_frame(replace(BLANK, things=(still(shape, colour, size=size),)), 1.5)


def test_every_colour_has_its_paint() -> None:
    assert set(RGB) == set(COLOURS)


def test_an_empty_plan_is_its_background() -> None:
    picture = draw_frame(BLANK, 0.0)
    assert picture.shape == (SIDE_PIXELS, SIDE_PIXELS, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - 90).max() <= 1


def test_a_thing_is_there_from_start_until_stop() -> None:
    plan = replace(BLANK, things=(still("square", "red"),))
    seen = [bool((draw_frame(plan, time) == RGB["red"]).all(axis=2).any()) for time in (0.99, 1.0, 1.99, 2.0)]
    assert seen == [False, True, True, False]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_middle_of_a_square_has_its_colour(colour: str) -> None:
    assert tuple(painted("square", colour)[56, 56]) == RGB[colour]


def test_areas_are_those_of_the_shapes() -> None:
    """Share of the bounding square that is not background, against plane geometry."""
    expected = {
        "circle": np.pi / 4,
        "ring": np.pi / 4 - np.pi * 0.21**2,
        "square": 0.88**2,
        "triangle": 0.93 / 2,
        "cross": 1 - 4 * 0.33**2,
        "star": 5 * 0.5 * 0.2 * np.sin(np.pi / 5),
    }
    side = round(0.5 * SIDE_PIXELS)
    for shape in SHAPES:
        inked = np.abs(painted(shape, "blue").astype(int) - 90).max(axis=2) > 30
        assert inked.sum() / side**2 == pytest.approx(expected[shape], abs=0.05), shape


def test_a_needle_has_a_white_edge_and_a_distractor_has_not() -> None:
    plain = replace(still("circle", "blue"), marked=False)
    assert (painted("circle", "blue") >= 200).all(axis=2).sum() > 50
    assert (draw_frame(replace(BLANK, things=(plain,)), 1.5) >= 200).all(axis=2).sum() == 0
