"""What happens in a video of the world, and what is asked about it. Random choices only, no pixels.

Each question has its own *needle*: a large thing that is there for 5–10 % of the video and that is the only
one of the shape (or colour) the question names. Small things of other shapes and colours come and go all the
time, and the other needles of the same video are just as large: only the question tells which one matters.
This is the easy level; levels.py has the hard one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from strive_data.errors import UsageError
from strive_data.schema import Span

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
OPTIONS = 4
MAX_QUESTIONS = 4
FRAMES_PER_SECOND = 4
DURATION_SECONDS = (16.0, 32.0)
NEEDLE_SHARE = (0.05, 0.10)
NEEDLE_SIZE = (0.46, 0.58)
DISTRACTOR_SIZE = (0.22, 0.30)
DISTRACTOR_SECONDS = (2.0, 5.0)
DISTRACTORS_AT_ONCE = 2

Asks = Literal["colour", "shape"]
About = Literal["moment", "first", "last", "count"]
TEMPLATES: dict[Asks, tuple[str, ...]] = {
    "colour": (
        "What colour is the {shape}?",
        "Which colour does the {shape} have?",
        "A {shape} is shown for a short time. What is its colour?",
    ),
    "shape": (
        "What shape is the {colour} object?",
        "Which shape is {colour}?",
        "Something {colour} is shown for a short time. What is its shape?",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A shape on an elliptic path while `start` ≤ t < `stop` (seconds); lengths are shares of the side."""

    shape: str
    colour: str
    start: float
    stop: float
    size: float
    centre: tuple[float, float]
    reach: tuple[float, float]
    turns_per_second: float
    phase: float
    marked: bool


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question about its needles in the order of time, with its options and the letter of the right one.

    All needles of a question have the shape or the colour that it names. `about` is what it needs of them:
    the look of the only one, which of two comes first or last, or how many there are.
    """

    text: str
    options: tuple[str, ...]
    letter: str
    asks: Asks
    needles: tuple[Thing, ...]
    about: About = "moment"

    @property
    def named(self) -> str:
        """The shape or colour that the question names."""
        return self.needles[0].shape if self.asks == "colour" else self.needles[0].colour

    @property
    def values(self) -> tuple[str, ...]:
        """The colours or shapes that it asks about, in the order of time."""
        return tuple(needle.colour if self.asks == "colour" else needle.shape for needle in self.needles)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Seconds in which each needle can be seen; the answer may need all of them."""
        return tuple((needle.start, needle.stop) for needle in self.needles)


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """One video: `frames` at FRAMES_PER_SECOND; things in drawing order; background in RGB.

    `camera`: (reach as a share of the side, turns per second, phase) of a circle on which the picture moves.
    """

    frames: int
    things: tuple[Thing, ...]
    asked: tuple[Asked, ...]
    background: tuple[tuple[int, int, int], tuple[int, int, int]]
    drift: tuple[float, float]
    camera: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def duration_seconds(self) -> float:
        """Length of the video."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def frame_times(self) -> tuple[float, ...]:
        """Presentation time of each frame in seconds."""
        return tuple(frame / FRAMES_PER_SECOND for frame in range(self.frames))


def plan_video(*, seed: int, index: int, questions: int) -> VideoPlan:
    """Video `index` of the world of `seed`.

    Raises UsageError for a number of questions that cannot be asked.
    """
    require_questions(questions)
    rng = np.random.default_rng([seed, index])
    frames = int(rng.uniform(*DURATION_SECONDS) * FRAMES_PER_SECOND)
    asks: list[Asks] = ["colour" if coin else "shape" for coin in rng.integers(0, 2, questions)]
    looks, free_shapes, free_colours = _needle_looks(rng, asks)
    lengths = [max(1, round(rng.uniform(*NEEDLE_SHARE) * frames)) for _ in range(questions)]
    needles = [
        make_needle(rng, shape, colour, span)
        for (shape, colour), span in zip(looks, spread(rng, frames, lengths), strict=True)
    ]
    small = [
        thing
        for _ in range(DISTRACTORS_AT_ONCE)
        for thing in distractors(rng, frames / FRAMES_PER_SECOND, free_shapes, free_colours)
    ]
    return VideoPlan(
        frames=frames,
        things=(*small, *needles),
        asked=tuple(
            _ask(rng, kind, needle, free_colours if kind == "colour" else free_shapes)
            for kind, needle in zip(asks, needles, strict=True)
        ),
        background=(muted(rng), muted(rng)),
        drift=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0, 2 * np.pi))),
    )


def require_questions(count: int) -> None:
    """Raise UsageError for a number of questions that a video cannot have."""
    if not 1 <= count <= MAX_QUESTIONS:
        raise UsageError(f"questions of a video: got {count}, expected 1 to {MAX_QUESTIONS}")


def _needle_looks(
    rng: np.random.Generator, asks: list[Asks]
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """(shape, colour) of each needle, and the shapes and colours that no question names.

    A question about a colour names a shape that only its needle has, and the other way round.
    """
    shapes, colours = list(rng.permutation(SHAPES)), list(rng.permutation(COLOURS))
    named = [shapes.pop() if kind == "colour" else colours.pop() for kind in asks]
    looks = [
        (name, str(rng.choice(colours))) if kind == "colour" else (str(rng.choice(shapes)), name)
        for kind, name in zip(asks, named, strict=True)
    ]
    return [(str(shape), str(colour)) for shape, colour in looks], shapes, colours


def spread(rng: np.random.Generator, frames: int, lengths: Sequence[int]) -> list[Span]:
    """Stretches of whole frames, as long as `lengths` say, that do not touch, in random order."""
    count = len(lengths)
    cuts = np.sort(rng.integers(0, frames - sum(lengths) - count, count)) + np.arange(count)
    starts = cuts + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    spans = [
        (float(start) / FRAMES_PER_SECOND, float(start + length) / FRAMES_PER_SECOND)
        for start, length in zip(starts, lengths, strict=True)
    ]
    return [spans[place] for place in rng.permutation(count)]


def make_needle(rng: np.random.Generator, shape: str, colour: str, span: Span) -> Thing:
    """A large thing with a white edge near the middle."""
    return Thing(
        shape=shape,
        colour=colour,
        start=span[0],
        stop=span[1],
        size=float(rng.uniform(*NEEDLE_SIZE)),
        centre=(float(rng.uniform(0.46, 0.54)), float(rng.uniform(0.46, 0.54))),
        reach=(0.03, 0.03),
        turns_per_second=float(rng.uniform(0.1, 0.4)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        marked=True,
    )


def distractors(
    rng: np.random.Generator, duration_seconds: float, shapes: list[str], colours: list[str]
) -> list[Thing]:
    """Small things, one after the other without a pause."""
    things: list[Thing] = []
    start = 0.0
    while start < duration_seconds:
        stop = start + float(rng.uniform(*DISTRACTOR_SECONDS))
        things.append(_distractor(rng, str(rng.choice(shapes)), str(rng.choice(colours)), (start, stop)))
        start = stop
    return things


def _distractor(rng: np.random.Generator, shape: str, colour: str, span: Span) -> Thing:
    return Thing(
        shape=shape,
        colour=colour,
        start=span[0],
        stop=span[1],
        size=float(rng.uniform(*DISTRACTOR_SIZE)),
        centre=(0.5, 0.5),
        reach=(float(rng.uniform(0.30, 0.38)), float(rng.uniform(0.30, 0.38))),
        turns_per_second=float(rng.uniform(-0.3, 0.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        marked=False,
    )


def _ask(rng: np.random.Generator, asks: Asks, needle: Thing, free: list[str]) -> Asked:
    """Wrong options come first from what other things may be too, so the scene rules out none."""
    answer, known = (needle.colour, COLOURS) if asks == "colour" else (needle.shape, SHAPES)
    others = [str(name) for name in rng.permutation([name for name in known if name != answer])]
    wrong = sorted(others, key=lambda name: name not in free)[: OPTIONS - 1]
    options, letter = shuffled_options(rng, answer, wrong)
    template = TEMPLATES[asks][rng.integers(len(TEMPLATES[asks]))]
    return Asked(
        text=template.format(shape=needle.shape, colour=needle.colour),
        options=options,
        letter=letter,
        asks=asks,
        needles=(needle,),
    )


def shuffled_options(
    rng: np.random.Generator, answer: str, wrong: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Options in random order, and the letter of the right one."""
    names = [str(name) for name in rng.permutation([answer, *wrong])]
    options = tuple(f"{letter}. {name}" for letter, name in zip("ABCDEF", names, strict=False))
    return options, "ABCDEF"[names.index(answer)]


def muted(rng: np.random.Generator) -> tuple[int, int, int]:
    """A greyish colour that none of COLOURS is near to."""
    red, green, blue = (int(value) for value in rng.uniform(50, 120) + rng.uniform(-18, 18, 3))
    return red, green, blue
