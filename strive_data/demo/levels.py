"""The levels of the world by name; the hard one, of which a single view seldom shows the whole evidence.

A question of the hard level names a shape or a colour. It needs one moment, the order of two, or a count over
up to four. Needles last 1.5 to 6 % of the video, so 8 of 64 or 128 candidates seldom meet all of them. Small
things may have the very look that is asked about, other needles are just as large, and the camera moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from strive_data.demo import world
from strive_data.demo.world import COLOURS, OPTIONS, SHAPES, About, Asked, Asks, Thing, VideoPlan
from strive_data.schema import Span

Level = Literal["easy", "hard"]
Kind = Literal["moment", "order", "count"]

# Candidate frames of a video, as the tiny models of the demo were trained on.
CANDIDATES: dict[Level, int] = {"easy": 32, "hard": 64}
DURATION_SECONDS = (32.0, 48.0)
NEEDLE_SHARE = (0.015, 0.06)
CAMERA_REACH = (0.04, 0.10)
CAMERA_TURNS_PER_SECOND = (0.04, 0.12)
MOST_COUNTED = 4
ABOUT_ORDER: tuple[About, ...] = ("first", "last")
# Each begins as on the easy level, so the tiny CLIP reads them too.
TEMPLATES: dict[tuple[Asks, About], str] = {
    ("colour", "moment"): "What colour is the {named}? It is large.",
    ("colour", "first"): "What colour is the {named} at first? It is large.",
    ("colour", "last"): "What colour is the {named} at last? It is large.",
    ("colour", "count"): "What colour is the {named}? How many colours are there? It is large.",
    ("shape", "moment"): "What shape is the {named} object? It is large.",
    ("shape", "first"): "What shape is the {named} object at first? It is large.",
    ("shape", "last"): "What shape is the {named} object at last? It is large.",
    ("shape", "count"): "What shape is the {named} object? How many shapes are there? It is large.",
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
    world.require_questions(questions)
    rng = np.random.default_rng([seed, index, 1])
    frames = int(rng.uniform(*DURATION_SECONDS) * world.FRAMES_PER_SECOND)
    looks = _looks(rng, questions, kinds)
    counts = [len(values) for *_, values in looks]
    lengths = [max(1, round(rng.uniform(*NEEDLE_SHARE) * frames)) for _ in range(sum(counts))]
    spans = iter(world.spread(rng, frames, lengths))
    asked = tuple(
        ask(rng, kind, about, make_needles(rng, kind, named, values, sorted(next(spans) for _ in values)))
        for kind, about, named, values in looks
    )
    small = [
        thing
        for _ in range(world.DISTRACTORS_AT_ONCE)
        for thing in world.distractors(rng, frames / world.FRAMES_PER_SECOND, [*SHAPES], [*COLOURS])
    ]
    turns = float(rng.choice([-1, 1]) * rng.uniform(*CAMERA_TURNS_PER_SECOND))
    return VideoPlan(
        frames=frames,
        things=(*small, *(needle for one in asked for needle in one.needles)),
        asked=asked,
        background=(world.muted(rng), world.muted(rng)),
        drift=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0, 2 * np.pi))),
        camera=(float(rng.uniform(*CAMERA_REACH)), turns, float(rng.uniform(0, 2 * np.pi))),
    )


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
        world.make_needle(rng, shape, colour, span)
        for (shape, colour), span in zip(looks, spans, strict=True)
    )


def ask(rng: np.random.Generator, kind: Asks, about: About, needles: tuple[Thing, ...]) -> Asked:
    """A question about needles in the order of time."""
    named = needles[0].shape if kind == "colour" else needles[0].colour
    values = [needle.colour if kind == "colour" else needle.shape for needle in needles]
    answer = answer_of(about, values)
    options, letter = world.shuffled_options(rng, answer, _wrong(rng, kind, about, values, answer))
    return Asked(
        text=TEMPLATES[kind, about].format(named=named),
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


LEVELS: dict[Level, Callable[..., VideoPlan]] = {"easy": world.plan_video, "hard": plan_hard_video}
