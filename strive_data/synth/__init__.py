"""A small world of needle videos: what a question asks about is visible only for a short while.

plan    random choices: which things are where and when, and what is asked (no pixels)
draw    a moment of a video as pixels
encode  frames into an H.264 file
write   a folder of videos with its annotation
"""

from strive_data.synth.draw import draw_frame
from strive_data.synth.plan import COLOURS, SHAPES, TEMPLATES, Asked, Thing, VideoPlan, plan_video
from strive_data.synth.write import write_world

__all__ = [
    "COLOURS",
    "SHAPES",
    "TEMPLATES",
    "Asked",
    "Thing",
    "VideoPlan",
    "draw_frame",
    "plan_video",
    "write_world",
]
