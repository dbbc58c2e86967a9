"""Questions whose answers follow from α, asked without a model: for the tests of waves and refilling.

A view's times are (α, number of the variant), so that an answer can depend on them; the fake policy answers
variant v of pick p by random numbers keyed by (p, v) alone, as the real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from strive_data.schema import Question
from strive_rl.data import Batch, Broken, Cursor, Stream, next_batch
from strive_rl.policy import Prompt
from strive_rl.rollout.builtin import Encoded, rewarded
from strive_rl.schema import Completion, Group, Rollout, SampleRef, View
from strive_rl.train.collect import Stages

Chance = Callable[[int, float], float]
PROMPT = Prompt(
    ids=np.zeros(3, dtype=np.int64),
    positions=np.zeros((3, 3), dtype=np.int64),
    is_video=np.zeros(3, dtype=bool),
    pixels=torch.zeros(1),
    grid=(1, 1, 1),
)


def view(alpha: float, variant: int) -> View:
    return View(frames=np.zeros((2, 1, 1, 3), dtype=np.uint8), times=np.array([alpha, variant]))


def made_group(pick: SampleRef, alpha: float, variants: int) -> Group:
    question = Question(
        sample_id=f"q{pick.position}",
        video="v.mp4",
        question="Which?",
        answer="A",
        problem_type="multiple choice",
        options=("A. red", "B. blue"),
    )
    return Group(question=question, views=tuple(view(alpha, v) for v in range(variants)), pick=pick)


def made_batch(positions: Sequence[int], alpha: float = 0.4, variants: int = 4, epoch: int = 0) -> Batch:
    picks = tuple(SampleRef(position=position, epoch=epoch) for position in positions)
    groups = tuple(made_group(pick, alpha, variants) for pick in picks)
    return Batch(groups=groups, picks=picks, broken=(), after=Cursor(epoch=epoch, taken=len(picks)))


def said(letter: str) -> Completion:
    return Completion(ids=(1, 2), logprobs=(-1.0, -1.0), text=f"<answer>{letter}</answer>", finished=True)


@dataclass(kw_only=True)
class FakePolicy:
    """Answers question p under α rightly with the chance `chance(p, α)`, `completions` times a variant.

    Keeps each call of `roll`: (number of the first variant, positions). `unreadable` are positions whose
    variants from a number on cannot be encoded.
    """

    chance: Chance
    completions: int = 4
    seed: int = 0
    unreadable: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def stages(self) -> Stages:
        return Stages(encode=self.encode, roll=self.roll)

    def encode(self, groups: Sequence[Group]) -> Encoded:
        kept = [group for group in groups if not self._cannot_read(group)]
        dropped = [(group.question.sample_id, "too long") for group in groups if self._cannot_read(group)]
        return Encoded(
            groups=tuple(kept),
            prompts=tuple((PROMPT,) * len(group.views) for group in kept),
            dropped=tuple(dropped),
            clean=tuple(PROMPT for group in kept if group.clean),
        )

    def roll(self, encoded: Encoded, first_variant: int) -> list[Rollout]:
        self.calls.append((first_variant, [_pick(group).position for group in encoded.groups]))
        for group in encoded.groups:
            numbers = [int(each.times[1]) for each in group.views]
            assert numbers == list(range(first_variant, first_variant + len(numbers)))
        return [
            rewarded(group, tuple(self._row(group, each) for each in group.views)) for group in encoded.groups
        ]

    def _row(self, group: Group, shown: View) -> tuple[Completion, ...]:
        pick, (alpha, variant) = _pick(group), shown.times
        numbers = np.random.default_rng([self.seed, pick.epoch, pick.position, int(variant)])
        right = numbers.random(self.completions) < self.chance(pick.position, float(alpha))
        return tuple(said("A" if each else "B") for each in right)

    def _cannot_read(self, group: Group) -> bool:
        limit = self.unreadable.get(_pick(group).position)
        return limit is not None and any(each.times[1] >= limit for each in group.views)


def redraw(variants: int) -> Callable[[SampleRef, float], Group]:
    return lambda pick, alpha: made_group(pick, alpha, variants)


def taker(stream: Stream, variants: int = 2, broken: Sequence[int] = ()) -> Callable[[Cursor, int], Batch]:
    """The next questions of a stream, without shards; those at `broken` are left out as damaged."""

    def take(cursor: Cursor, size: int) -> Batch:
        picks, after = next_batch(cursor, stream, size)
        whole = made_batch([], variants=variants)
        kept = tuple(pick for pick in picks if pick.position not in broken)
        return replace(
            whole,
            groups=tuple(made_group(pick, 0.4, variants) for pick in kept),
            picks=kept,
            broken=tuple(
                Broken(sample_id=f"q{p.position}", reason="damaged") for p in picks if p.position in broken
            ),
            after=after,
        )

    return take


def _pick(group: Group) -> SampleRef:
    assert group.pick is not None
    return group.pick
