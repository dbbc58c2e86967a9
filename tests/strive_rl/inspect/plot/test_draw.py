"""Runs → a file, and what cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from strive_data.errors import UsageError
from strive_rl.inspect.plot.draw import draw
from tests.strive_rl.inspect.plot.made_runs import make_run


def test_a_picture_and_a_page(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"arm-{seed}", [0.1, 0.5, None], seed=seed) for seed in (0, 1)]
    assert draw(runs, tmp_path / "new" / "curves.PNG") == 2
    with Image.open(tmp_path / "new" / "curves.PNG") as image:
        assert image.format == "PNG"
    assert draw(runs, tmp_path / "curves.html", smooth=2, group=True) == 1
    assert "arm (2 seeds)" in (tmp_path / "curves.html").read_text(encoding="utf-8")


def test_wrong_names_and_places_are_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.1])
    with pytest.raises(UsageError, match=r"ends in \.png or \.html"):
        draw([run], tmp_path / "curves.pdf")
    with pytest.raises(UsageError, match="--smooth 0"):
        draw([run], tmp_path / "curves.png", smooth=0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        draw([run], tmp_path / "file" / "curves.png")
