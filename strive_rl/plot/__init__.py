"""Curves of runs on one page: `history` reads, `curves` `axes` `chart` are pure, `svg` `png` `page` write."""

from strive_rl.plot.draw import draw

__all__ = ["draw"]
