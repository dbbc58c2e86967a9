"""Endless examples for the language model: new questions over new combinations of known frame pairs.

A few hundred videos are learnt by heart sooner than the way to read them. The features of a frame pair do not
depend on the other pairs, so pairs of different videos are put together as if they were one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from strive_data.demo.world import COLOURS, SHAPES, Asked
from strive_rl.policy import Policy
from strive_rl.policy.positions import prompt_positions, video_positions
from strive_rl.schema import VideoFeatures
from tools.tiny.examples import FRAMES, LETTER_FROM_END, Example

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
            [example.prompt.features.tokens for example in examples if example.prompt.features is not None]
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
    positions = prompt_positions(example.prompt.is_video, video_positions(times, 1, 1, per_second))
    prompt = replace(
        example.prompt,
        features=VideoFeatures(tokens=bank.features[torch.from_numpy(pairs)]),
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
