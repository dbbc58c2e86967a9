"""What happens in a video of the world, and what is asked about it. Random choices only, no pixels.

Each question has its own *needle*: a large thing that is there for 5–10 % of the video and that is the only
one of the shape (or colour) the question names. Small things of other shapes and colours come and go all the
time, and the other needles of the same video are just as large: only the question tells which one matters.
This is the easy level.

Of the hard level a single view seldom shows the whole evidence. Its question names a shape or a colour, and
needs one moment, the order of two, or a count over up to four. Needles last 1.5 to 6 % of the video, so 8 of
64 or 128 candidates seldom meet all of them. Small things may have the very look that is asked about, other
needles are just as large, and the camera moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

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
Level = Literal["easy", "hard"]
Kind = Literal["moment", "order", "count"]
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
    small = distractors(rng, frames / FRAMES_PER_SECOND, free_shapes, free_colours)
    asked = tuple(
        _ask(rng, kind, needle, free_colours if kind == "colour" else free_shapes)
        for kind, needle in zip(asks, needles, strict=True)
    )
    return _plan(rng, frames, [*small, *needles], asked)


def _plan(
    rng: np.random.Generator, frames: int, things: Sequence[Thing], asked: tuple[Asked, ...]
) -> VideoPlan:
    return VideoPlan(
        frames=frames,
        things=tuple(things),
        asked=asked,
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
    """Small things, DISTRACTORS_AT_ONCE at any time, one after the other without a pause."""
    things: list[Thing] = []
    for _ in range(DISTRACTORS_AT_ONCE):
        start = 0.0
        while start < duration_seconds:
            stop = start + float(rng.uniform(*DISTRACTOR_SECONDS))
            thing = Thing(
                shape=str(rng.choice(shapes)),
                colour=str(rng.choice(colours)),
                start=start,
                stop=stop,
                size=float(rng.uniform(*DISTRACTOR_SIZE)),
                centre=(0.5, 0.5),
                reach=(float(rng.uniform(0.30, 0.38)), float(rng.uniform(0.30, 0.38))),
                turns_per_second=float(rng.uniform(-0.3, 0.3)),
                phase=float(rng.uniform(0, 2 * np.pi)),
                marked=False,
            )
            things.append(thing)
            start = stop
    return things


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


# Candidate frames of a video, as the tiny models of the demo were trained on.
CANDIDATES: dict[Level, int] = {"easy": 32, "hard": 64}
HARD_DURATION_SECONDS = (32.0, 48.0)
HARD_NEEDLE_SHARE = (0.015, 0.06)
CAMERA_REACH = (0.04, 0.10)
CAMERA_TURNS_PER_SECOND = (0.04, 0.12)
MOST_COUNTED = 4
ABOUT_ORDER: tuple[About, ...] = ("first", "last")
# Each begins as on the easy level, so the tiny CLIP reads them too.
HARD_TEMPLATES: dict[Asks, str] = {
    "colour": "What colour is the {named}{asked} It is large.",
    "shape": "What shape is the {named} object{asked} It is large.",
}
ASKED: dict[About, str] = {
    "moment": "?",
    "first": " at first?",
    "last": " at last?",
    "count": "? How many {kind}s are there?",
}


def build_options(level: Level) -> str:
    """Options of `strive-data build` that the demo's models need of a build of this level."""
    return (
        f"--scorer demo --candidates {CANDIDATES[level]} --frames 8 --set decode.max_pixels=784 "
        "--set shard.frames=all"
    )


def plan_hard_video(
    *, seed: int, index: int, questions: int, kinds: Sequence[Kind] = get_args(Kind)
) -> VideoPlan:
    """Video `index` of the hard world of `seed`, with questions of these kinds.

    Raises UsageError for a number of questions that cannot be asked.
    """
    require_questions(questions)
    rng = np.random.default_rng([seed, index, 1])
    frames = int(rng.uniform(*HARD_DURATION_SECONDS) * FRAMES_PER_SECOND)
    looks = _looks(rng, questions, kinds)
    counts = [len(values) for *_, values in looks]
    lengths = [max(1, round(rng.uniform(*HARD_NEEDLE_SHARE) * frames)) for _ in range(sum(counts))]
    spans = iter(spread(rng, frames, lengths))
    asked = tuple(
        ask(rng, kind, about, make_needles(rng, kind, named, values, sorted(next(spans) for _ in values)))
        for kind, about, named, values in looks
    )
    small = distractors(rng, frames / FRAMES_PER_SECOND, [*SHAPES], [*COLOURS])
    turns = float(rng.choice([-1, 1]) * rng.uniform(*CAMERA_TURNS_PER_SECOND))
    plan = _plan(rng, frames, [*small, *(needle for one in asked for needle in one.needles)], asked)
    return replace(plan, camera=(float(rng.uniform(*CAMERA_REACH)), turns, float(rng.uniform(0, 2 * np.pi))))


def _looks(
    rng: np.random.Generator, questions: int, kinds: Sequence[Kind]
) -> list[tuple[Asks, About, str, list[str]]]:
    """What each question asks: (asks, about, name, the values that its needles have).

    Colour and shape alternate, so at least MOST_COUNTED of each are left that no question names.
    """
    start = int(rng.integers(2))
    asks = [get_args(Asks)[(start + place) % 2] for place in range(questions)]
    shapes, colours = list(rng.permutation(SHAPES)), list(rng.permutation(COLOURS))
    names = [str(shapes.pop() if kind == "colour" else colours.pop()) for kind in asks]
    return [
        (kind, about, name, [str(value) for value in rng.permutation(free)[: needle_count(rng, about)]])
        for kind, about, name in zip(asks, _abouts(rng, questions, kinds), names, strict=True)
        for free in [colours if kind == "colour" else shapes]
    ]


def _abouts(rng: np.random.Generator, questions: int, kinds: Sequence[Kind]) -> list[About]:
    """Each of the kinds once before one of them comes again."""
    drawn = [kind for _ in range(0, questions, len(kinds)) for kind in rng.permutation(list(kinds))]
    order = [ABOUT_ORDER[coin] for coin in rng.integers(0, 2, questions)]
    return [
        own if kind == "order" else "moment" if kind == "moment" else "count"
        for kind, own in zip(drawn, order, strict=False)
    ]


def needle_count(rng: np.random.Generator, about: About) -> int:
    """How many needles a question has."""
    if about == "count":
        return int(rng.integers(1, MOST_COUNTED + 1))
    return 2 if about in ABOUT_ORDER else 1


def make_needles(
    rng: np.random.Generator, kind: Asks, named: str, values: list[str], spans: list[Span]
) -> tuple[Thing, ...]:
    """A needle for each value and span, all with the look that is named."""
    looks = [(named, value) if kind == "colour" else (value, named) for value in values]
    return tuple(
        make_needle(rng, shape, colour, span) for (shape, colour), span in zip(looks, spans, strict=True)
    )


def ask(rng: np.random.Generator, kind: Asks, about: About, needles: tuple[Thing, ...]) -> Asked:
    """A question about needles in the order of time."""
    named = needles[0].shape if kind == "colour" else needles[0].colour
    values = [needle.colour if kind == "colour" else needle.shape for needle in needles]
    answer = answer_of(about, values)
    options, letter = shuffled_options(rng, answer, _wrong(rng, kind, about, values, answer))
    return Asked(
        text=HARD_TEMPLATES[kind].format(named=named, asked=ASKED[about].format(kind=kind)),
        options=options,
        letter=letter,
        asks=kind,
        needles=needles,
        about=about,
    )


def answer_of(about: About, values: list[str]) -> str:
    """The answer to a question whose needles have `values` in the order of time."""
    if about == "count":
        return str(len(values))
    return values[-1] if about == "last" else values[0]


def _wrong(rng: np.random.Generator, kind: Asks, about: About, values: list[str], answer: str) -> list[str]:
    """Wrong options; of an order the other of the two is always one of them."""
    if about == "count":
        return [str(count) for count in range(1, MOST_COUNTED + 1) if str(count) != answer]
    known = COLOURS if kind == "colour" else SHAPES
    absent = [str(name) for name in rng.permutation([name for name in known if name not in values])]
    return [*(value for value in values if value != answer), *absent][: OPTIONS - 1]


LEVELS: dict[Level, Callable[..., VideoPlan]] = {"easy": plan_video, "hard": plan_hard_video}
