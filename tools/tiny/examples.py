"""Questions of the world with the frames a trainer would show, and the answers to imitate; endless new ones.

A few hundred videos are learnt by heart sooner than the way to read them. The features of a frame pair do not
depend on the other pairs, so `compose` puts pairs of different videos together as if they were one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from strive_data.config import SamplerSettings, ScoreSettings
from strive_data.demo.world import COLOURS, SHAPES, Asked
from strive_data.sampling.samplers import draw
from strive_data.score import make_scorer
from strive_rl.policy import Policy, Prompt, encode
from strive_rl.policy.architectures.qwen_vl import prompt_positions, video_positions
from strive_rl.schema import Completion, Group, View
from tools.tiny.pool import LOOKS, PoolVideo, as_question, looks_at

FRAMES = 8
LETTER_FROM_END = -3  # letter, </answer>, end


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A prompt and the answers to imitate, the right one first, the other options after it.

    `weights` float32 [options, tokens]: all tokens of the right answer count, of the others only the letter,
    which must follow from the thought whatever the video shows. `looks` float32 [FRAMES/2, LOOKS] marks what
    each frame pair shows, `seen` whether a frame of the evidence is among the frames.
    """

    prompt: Prompt
    targets: tuple[Completion, ...]
    weights: npt.NDArray[np.float32]
    looks: npt.NDArray[np.float32]
    asked: Asked
    letter: str
    seen: bool


def make_examples(
    policy: Policy, pool: Sequence[PoolVideo], *, samplers: Sequence[str], seed: int
) -> list[Example]:
    """A example for each question and each sampler named, phases drawn from `seed`."""
    rng = np.random.default_rng(seed)
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"))
    settings = SamplerSettings(frames=FRAMES, variants=1)
    examples = []
    for video in pool:
        asked = video.plan.asked
        scored = scorer.score(video.candidates, [as_question(one, "x") for one in asked])
        for one, scores in zip(asked, scored, strict=True):
            views = [draw(name, scores.scores, settings, offset=float(rng.random()))[0] for name in samplers]
            examples += _examples(policy, video, one, views)
    return examples


def answer_text(asked: Asked, option: str) -> str:
    """An answer that says `option` ("A. red"), as a good one looks."""
    if asked.asks == "colour":
        thought = f"The {asked.needles[0].shape} is {option[3:]}."
    else:
        thought = f"I see a {asked.needles[0].colour} {option[3:]}."
    return f"<think>{thought}</think><answer>{option[0]}</answer>"


def _examples(
    policy: Policy, video: PoolVideo, asked: Asked, views: Sequence[npt.NDArray[np.int32]]
) -> list[Example]:
    options = sorted(asked.options, key=lambda option: option[0] != asked.letter)
    targets = tuple(target_of(policy, answer_text(asked, option)) for option in options)
    weights = np.zeros((len(options), max(len(target.ids) for target in targets)), dtype=np.float32)
    weights[0, : len(targets[0].ids)] = 1
    for row, target in enumerate(targets):
        weights[row, len(target.ids) + LETTER_FROM_END] = 1
    shown = tuple(View(frames=video.frames[view], times=video.times[view]) for view in views)
    group = Group(question=as_question(asked, "x"), views=shown)
    start, stop = asked.spans[0]
    return [
        Example(
            prompt=prompt,
            targets=targets,
            weights=weights,
            looks=_looks(video, view),
            asked=asked,
            letter=asked.letter,
            seen=bool(((video.times[view] >= start) & (video.times[view] < stop)).any()),
        )
        for prompt, view in zip(encode(policy, group), views, strict=True)
    ]


def target_of(policy: Policy, text: str) -> Completion:
    """The text as a finished completion."""
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"] + [policy.end_ids[0]]
    return Completion(ids=tuple(ids), logprobs=(0.0,) * len(ids), text=text, finished=True)


def _looks(video: PoolVideo, view: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Which (colour, shape) needles each frame pair shows."""
    looks = np.stack([looks_at(video.plan, float(time)) for time in video.times[view]])
    return looks.reshape(FRAMES // 2, 2, LOOKS).max(axis=1)


PAIRS = FRAMES // 2
PAIR_SECONDS = (1.0, 8.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBank:
    """Features [B, D] of frame pairs and what each shows, looks bool [B, colours, shapes]."""

    features: torch.Tensor
    looks: npt.NDArray[np.bool_]


def make_bank(examples: Sequence[Example]) -> PairBank:
    """All frame pairs of examples whose prompts hold features."""
    looks = np.concatenate([example.looks for example in examples]) > 0.5
    return PairBank(
        features=torch.cat(
            [example.prompt.features for example in examples if example.prompt.features is not None]
        ),
        looks=looks.reshape(-1, len(COLOURS), len(SHAPES)),
    )


def compose(
    policy: Policy, bank: PairBank, example: Example, rng: np.random.Generator, *, crowded: float
) -> Example:
    """The question of `example` over other frame pairs, exactly one of which shows what it names.

    The right answer follows from that pair, so it may be another option than before. In a share `crowded` of
    the examples every pair shows some needle, so that only the question tells which one matters.
    """
    asked = example.asked
    values, named_BV = named_looks(bank, asked)
    options = sorted(asked.options, key=lambda option: option[0] != example.letter)
    right = int(rng.integers(len(options)))
    value = values.index(options[right][3:])
    shows = np.flatnonzero(named_BV[:, value] & (named_BV.sum(axis=1) == 1))
    full = bank.looks.any(axis=(1, 2)) if rng.random() < crowded else np.True_
    others = np.flatnonzero(~named_BV.any(axis=1) & full)
    pairs = rng.permutation([rng.choice(shows), *rng.choice(others, PAIRS - 1)])
    times = np.cumsum(rng.uniform(*PAIR_SECONDS, PAIRS))
    per_second = float(policy.model.config.vision_config.tokens_per_second)
    positions = prompt_positions(example.prompt.is_video, [video_positions(times, 1, 1, per_second)])
    prompt = replace(
        example.prompt,
        features=bank.features[torch.from_numpy(pairs)],
        positions=positions,
    )
    return replace(example, prompt=prompt, weights=_weights(example, right), letter=options[right][0])


def named_looks(bank: PairBank, asked: Asked) -> tuple[tuple[str, ...], npt.NDArray[np.bool_]]:
    """The possible answers V, and bool [B, V]: which of them pair B shows on what the question names."""
    if asked.asks == "colour":
        return COLOURS, bank.looks[:, :, SHAPES.index(asked.needles[0].shape)]
    return SHAPES, bank.looks[:, COLOURS.index(asked.needles[0].colour), :]


def _weights(example: Example, right: int) -> npt.NDArray[np.float32]:
    """Weights [options, tokens] with `right` as the answer that counts as a whole."""
    weights = np.zeros_like(example.weights)
    for row, target in enumerate(example.targets):
        weights[row, len(target.ids) + LETTER_FROM_END] = 1
    weights[right, : len(example.targets[right].ids)] = 1
    return weights
