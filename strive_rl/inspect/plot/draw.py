"""Runs → one file: read, laid out, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strive_data.errors import UsageError
from strive_rl.inspect.plot.chart import chart
from strive_rl.inspect.plot.curves import arms, default_span
from strive_rl.inspect.plot.history import read_histories
from strive_rl.inspect.plot.page import curves_page
from strive_rl.inspect.plot.png import chart_image

SUFFIXES = (".png", ".html")


def draw(runs: Sequence[Path], out: Path, *, smooth: int | None = None, group: bool = False) -> int:
    """Write the curves of `runs` to `out`, a .png or .html file; the number of curves.

    `smooth` is the span of the moving average in steps; None: a 25th of the longest run, 1: none. Raises
    UsageError for a run that cannot be read, another suffix and a file that cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {out}: expected a name that ends in .png or .html")
    if smooth is not None and smooth < 1:
        raise UsageError(f"--smooth {smooth}: expected 1 (none) or more steps")
    histories = read_histories(runs)
    span = smooth or default_span(histories)
    shown = arms(histories, group=group)
    made = chart(shown, span)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".png":
            chart_image(made).save(out, "PNG")
        else:
            out.write_text(curves_page(made, shown, span), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot write: {error.strerror or error}") from error
    return len(shown)
