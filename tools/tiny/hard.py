"""Examples of the hard level: new questions over new combinations of known frames (examples.py: the easy).

Frames are doubled (policy.frame_pairs), so a video token shows one moment and its look is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from strive_data.config import SamplerSettings, ScoreSettings
from strive_data.demo.draw import draw_frame
from strive_data.demo.world import (
    COLOURS,
    SHAPES,
    About,
    Asked,
    Asks,
    answer_of,
    ask,
    make_needles,
    needle_count,
    plan_hard_video,
)
from strive_data.sampling.samplers import draw
from strive_data.score import make_scorer
from strive_rl.policy import Policy, encode
from strive_rl.schema import Group, View
from tools.tiny.examples import FRAMES, Example, PairBank, named_looks, target_of
from tools.tiny.pool import FILTERS, LOOKS, SIDE_PIXELS, as_question, looks_at, make_pool, shrink
from tools.tiny.warm_start import pair_features

FRAMES_OF_A_VIDEO = 24
GAP_SECONDS = (0.5, 8.0)
BATCH = 128
# How often one of several needles is not among the frames: a completion can then only say what it saw.
MISSED = 0.15


def make_frame_bank(policy: Policy, *, videos: int, seed: int) -> PairBank:
    """Doubled frames of the hard world of `seed`, two thirds of them with a needle."""
    rng = np.random.default_rng(seed)
    frames, looks = [], []
    for index in range(videos):
        plan = plan_hard_video(seed=seed, index=index, questions=4)
        resample = FILTERS[int(rng.integers(len(FILTERS)))]
        spans = [span for asked in plan.asked for span in asked.spans]
        within = [
            rng.uniform(*spans[int(rng.integers(len(spans)))]) for _ in range(2 * FRAMES_OF_A_VIDEO // 3)
        ]
        anywhere = rng.uniform(0, plan.duration_seconds, FRAMES_OF_A_VIDEO // 3)
        for time in (*within, *anywhere):
            shown = float(max(t for t in plan.frame_times if t <= time))
            frames.append(shrink(draw_frame(plan, shown), resample, rng))
            looks.append(looks_at(plan, shown))
    pairs = np.repeat(np.stack(frames)[:, None], 2, axis=1)
    with torch.no_grad():
        parts = [pair_features(policy, pairs[at : at + BATCH]) for at in range(0, len(pairs), BATCH)]
    shape = (-1, len(COLOURS), len(SHAPES))
    return PairBank(features=torch.cat(parts), looks=(np.stack(looks) > 0.5).reshape(shape))


def compose_hard(policy: Policy, bank: PairBank, rng: np.random.Generator) -> Example:
    """A new question over FRAMES frames of the bank; the answer says what they show."""
    kind = get_args(Asks)[int(rng.integers(2))]
    about: About = ("moment", "first", "last", "count")[int(rng.choice(4, p=(0.3, 0.2, 0.2, 0.3)))]
    names, known = (SHAPES, COLOURS) if kind == "colour" else (COLOURS, SHAPES)
    named = str(rng.choice(names))
    values = [str(value) for value in rng.permutation(known)[: needle_count(rng, about)]]
    spans = [(float(place), place + 1.0) for place in range(len(values))]
    asked = ask(rng, kind, about, make_needles(rng, kind, named, values, spans))
    kept = [value for value in values if rng.random() >= MISSED] or values[:1]
    places = _frames(bank, asked, kept, rng)
    times = np.cumsum(rng.uniform(*GAP_SECONDS, FRAMES))
    return _example(policy, asked, times, kept, bank.features[torch.from_numpy(places)])


def answer_text_hard(asked: Asked, values: Sequence[str], letter: str) -> str:
    """A thought that lists the values in the order of time, and the letter of the answer."""
    listed = ", ".join(values)
    thought = (
        f"The {asked.named} is {listed}." if asked.asks == "colour" else f"I see a {asked.named} {listed}."
    )
    return f"<think>{thought}</think><answer>{letter}</answer>"


def held_out(policy: Policy, *, videos: int, seed: int, scorer: str) -> list[Example]:
    """Questions of whole videos under one importance-aware view, as a build would show them."""
    made, rng = make_scorer(ScoreSettings(scorer=scorer, device="cpu")), np.random.default_rng(seed)
    settings = SamplerSettings(frames=FRAMES, variants=1)
    examples = []
    for video in make_pool(videos=videos, seed=seed, level="hard"):
        asked = [as_question(one, f"{seed}-{len(examples)}-{i}") for i, one in enumerate(video.plan.asked)]
        for one, scores in zip(video.plan.asked, made.score(video.candidates, asked), strict=True):
            view = draw(settings.name, scores.scores, settings, offset=float(rng.random()))[0]
            pairs = np.repeat(video.frames[view][:, None], 2, axis=1)
            with torch.no_grad():
                features = pair_features(policy, pairs)
            examples.append(_example(policy, one, video.times[view], one.values, features))
    return examples


def _frames(
    bank: PairBank, asked: Asked, values: Sequence[str], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Frames int64 [FRAMES] in the order of time that show `values` of what is named, in that order; a needle
    may be on several frames."""
    known, named_BV = named_looks(bank, asked)
    repeats = rng.integers(1, 3, len(values)) if len(values) < 4 else np.ones(len(values), dtype=np.int64)
    chosen: list[int] = []
    for value, count in zip(values, repeats, strict=True):
        shows = np.flatnonzero(named_BV[:, known.index(value)])
        chosen += [int(frame) for frame in rng.choice(shows, count)]
    others = rng.choice(np.flatnonzero(~named_BV.any(axis=1)), FRAMES - len(chosen))
    # Needles stay in order; what shows none of them comes anywhere between.
    slots = np.sort(rng.permutation(FRAMES)[: len(chosen)])
    frames = np.empty(FRAMES, dtype=np.int64)
    frames[slots] = chosen
    frames[np.setdiff1d(np.arange(FRAMES), slots)] = others
    return frames


def _example(
    policy: Policy,
    asked: Asked,
    times: npt.NDArray[np.float64],
    values: Sequence[str],
    features: torch.Tensor,
) -> Example:
    blank = View(frames=np.zeros((FRAMES, SIDE_PIXELS, SIDE_PIXELS, 3), dtype=np.uint8), times=times)
    # The features are known: no pixel is read.
    seen = {id(blank): (torch.empty(0), (FRAMES, 2, 2))}
    (prompt,) = encode(policy, Group(question=as_question(asked, "x"), views=(blank,)), seen)
    options = {option[3:]: option[0] for option in asked.options}
    letter = options.get(answer_of(asked.about, list(values)), asked.letter)
    target = target_of(policy, answer_text_hard(asked, values, letter))
    return Example(
        prompt=replace(prompt, features=features),
        targets=(target,),
        weights=np.ones((1, len(target.ids)), dtype=np.float32),
        looks=np.zeros((FRAMES, LOOKS), dtype=np.float32),
        asked=asked,
        letter=asked.letter,
        seen=True,
    )
