"""The picture has the chart's size and colours."""

from __future__ import annotations

import numpy as np
from PIL import ImageColor

from strive_rl.inspect.plot.chart import PALETTE, chart
from strive_rl.inspect.plot.curves import arms
from strive_rl.inspect.plot.png import SCALE, chart_image
from tests.strive_rl.inspect.plot.made_runs import history


def test_curves_are_drawn_where_the_chart_has_them() -> None:
    made = chart(arms([history("a", [0.0, 1.0, 0.0])], group=False), 1)
    image = chart_image(made)
    assert image.size == (made.width * SCALE, made.height * SCALE)
    pixels = np.asarray(image)
    colour = np.array(ImageColor.getrgb(PALETTE[0]))
    x, y = next(line.points[1] for line in made.lines if len(line.points) == 3 and line.colour == PALETTE[0])
    around = pixels[round(y * SCALE) - 3 : round(y * SCALE) + 4, round(x * SCALE) - 3 : round(x * SCALE) + 4]
    assert np.abs(around.astype(int) - colour).sum(axis=-1).min() < 30
    assert (pixels[-1] == 255).all()
