"""Spatial views: how a variant shows its frames, so that the answer can still be seen.

A view is whole, or shows some frames through one static crop, or is of another resolution tier. Never
flips, rotations, reversal, shuffling or inverted colours: they change answers. What could change the answer
of this very question is kept off by its words. Pure functions of arrays; our own choice, not the paper's.

Shape letters: M variants, K frames of a variant, H and W pixels, C colours.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from strive_data.config import ViewSettings
from strive_data.decode.frame_times import storage_size
from strive_data.schema import Frames, Question

Kind = Literal["whole", "crop", "coarse", "sharp"]
PIXELS_OF_TIER: dict[Kind, float] = {"whole": 1.0, "crop": 1.0, "coarse": 0.5, "sharp": 2.0}
MEASURED_TYPES = ("numerical", "regression", "temporal grounding")

# Erring towards too many words only leaves a view whole.
PLACE_OR_COUNT = re.compile(
    r"\b(left|right|top|bottom|corners?|behind|front|above|below|under|underneath|beside|next to|near\w*|"
    r"clos\w+|far|farthest|further|between|middle|cent(er|re)\w*|edges?|sides?|upper|lower|up|down|inside|"
    r"outside|foreground|background|where|positions?|places?|locat\w+|directions?|towards?|away|distances?|"
    r"north|south|east|west|around|across|how (many|much|often|far|big|large|tall)|number of|count\w*|times|"
    r"total|amount|several|most|fewest|fewer|more|less|at least|size|larg\w+|bigg?\w*|small\w*|tall\w*)\b",
    re.IGNORECASE,
)
TEXT = re.compile(
    r"\b(texts?|words?|letters?|read\w*|writ\w+|wrote|signs?|labels?|titles?|captions?|subtitles?|numbers?|"
    r"digits?|plates?|logos?|brands?|names?|named|spell\w*|print\w*|screens?|display\w*|pages?|books?|"
    r"newspapers?|menus?|posters?|banners?|says?|said|codes?|prices?|scores?|clocks?|dates?|inscription\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class SpatialView:
    """One variant's view. `side`, `left` and `top` are shares of the frame's sides, in hundredths; a view
    that is no crop has side 1."""

    kind: Kind = "whole"
    side: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def __str__(self) -> str:
        """The view in words."""
        if self.kind == "crop":
            return f"crop {self.side:.2f} at {self.left:.2f},{self.top:.2f}"
        return "whole" if self.kind == "whole" else f"tier {self.kind}"


def allowed_kinds(question: Question, settings: ViewSettings) -> tuple[Kind, ...]:
    """Kinds of view beside whole that keep the answer to this question, of those that are switched on.

    Crops are off for words of place or count and for measured answers, the coarse tier for words about text
    and for OCR. The words are English: a question with letters outside ASCII is always shown whole.
    """
    words = " ".join((question.question, *question.options))
    if not words.isascii():
        return ()
    kinds: list[Kind] = []
    if settings.crop and not PLACE_OR_COUNT.search(words) and question.problem_type not in MEASURED_TYPES:
        kinds.append("crop")
    if "coarse" in settings.tiers and not TEXT.search(words) and question.problem_type != "OCR":
        kinds.append("coarse")
    if "sharp" in settings.tiers:
        kinds.append("sharp")
    return tuple(kinds)


def choose_views(
    kinds: tuple[Kind, ...], settings: ViewSettings, *, variants: int, seed: int, sample_id: str, epoch: int
) -> tuple[SpatialView, ...]:
    """Views of the M variants: the first whole, each other one whole or of one of `kinds`, equally likely.

    Deterministic in (seed, sample id, epoch), on every machine, from raw Philox bits.
    """
    choices: tuple[Kind, ...] = ("whole", *kinds)
    draws_M4 = _uniform(variants, f"views\0{seed}\0{sample_id}\0{epoch}")
    views = [SpatialView()]
    for kind_draw, side_draw, left_draw, top_draw in draws_M4[1:].tolist():
        kind = choices[int(kind_draw * len(choices))]
        if kind != "crop":
            views.append(SpatialView(kind=kind))
            continue
        least = math.ceil(round(settings.crop_least_side * 100, 6))
        side = least + int(side_draw * (100 - least))
        left, top = (int(draw * (101 - side)) for draw in (left_draw, top_draw))
        views.append(SpatialView(kind=kind, side=side / 100, left=left / 100, top=top / 100))
    return tuple(views)


def crop_frames(frames_KHWC: Frames, view: SpatialView, *, still: bool = False) -> Frames:
    """Every second pair of frames through the view's window, enlarged to the frames' own size.

    uint8 [K, H, W, 3] to the same shape. The window has the aspect of the frame. Pairs, since the models
    merge frames 2j and 2j+1; the first pair is whole, so that at least half of the frames are. The one frame
    of a `still` is shown through the window: its first variant is the whole one.
    """
    height, width = frames_KHWC.shape[1:3]
    left, top = view.left * width, view.top * height
    window = (left, top, left + view.side * width, top + view.side * height)
    out_KHWC = frames_KHWC.copy()
    for k in range(len(out_KHWC)) if still else cropped_frames(len(frames_KHWC)):
        image = Image.fromarray(frames_KHWC[k])
        shown = image.resize((width, height), Image.Resampling.BICUBIC, box=window)
        out_KHWC[k] = np.asarray(shown)
    return out_KHWC


def cropped_frames(frames: int) -> list[int]:
    """Places of the frames that a crop changes among `frames`: the whole pairs 1, 3, 5 and so on."""
    return [k for k in range(frames - frames % 2) if k // 2 % 2 == 1]


def resize_frames(frames_KHWC: Frames, size: tuple[int, int]) -> Frames:
    """Frames in another size (width, height): uint8 [K, h, w, 3]; unchanged where they have it already."""
    if frames_KHWC.shape[2:0:-1] == size:
        return frames_KHWC
    images = (Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC) for frame in frames_KHWC)
    return np.stack([np.asarray(image) for image in images])


def view_size(kind: Kind, stored: tuple[int, int], settings: ViewSettings, multiple: int) -> tuple[int, int]:
    """Size (width, height) of a view's frames, from the stored size; never larger than that."""
    width, height = stored
    pixels = settings.pixels or width * height
    most = int(pixels * PIXELS_OF_TIER[kind])
    if width * height <= most:
        return stored
    return storage_size(width, height, max(most, multiple**2), multiple)


def view_frames(frames: int, base: tuple[int, int], size: tuple[int, int]) -> int:
    """Even number of frames of this size, at least 2, for no more pixels than `frames` of the base size."""
    pairs = frames * base[0] * base[1] // (2 * size[0] * size[1])
    return max(2 * pairs, 2)


def _uniform(variants: int, key_text: str) -> npt.NDArray[np.float64]:
    """Four numbers in [0, 1) for each variant."""
    key = int.from_bytes(sha256(key_text.encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key).random_raw(4 * variants)
    uniform: npt.NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform.reshape(variants, 4)
