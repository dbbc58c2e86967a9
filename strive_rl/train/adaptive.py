"""Adaptive variants: a question gets as many as it takes until its answers differ, at the price of M×G.

Beyond the paper, which names adaptive variant counts as future work. A step has M variants for each question
that can be asked, as in the fixed scheme, and spends exactly these, in waves:

1. one variant for each question, at the step's α;
2. while any is left: one more for each question whose answers are all equally accurate, in the order of the
   stream, until its answers differ or it has `most`: all wrong, more focused (α·focus after one variant,
   α·focus² after two, ...); all right, more diffuse (α/focus, ...); between `least` and 1;
3. what is left then goes to the questions with the fewest variants, up to `most`, at the step's α.

Since `most` is at least M all of it can be spent, so prompts and responses are as many as under M×G; only the
passes are smaller. Variant v of a question is row v of the `most` rows that its sampler draws at its α, with
the epoch's phase, so rows of different α still interleave; and its chances are those of (seed, sample, epoch,
v). So what is asked depends on the policy's answers, and on nothing else: not on the number of processes.

What it costs in principle: when to stop and where to look depends on rewards, so a question's mean is no
longer the mean of draws fixed beforehand (a question stops once it is mixed), and the gradient is biased, of
leave-one-out too. And questions that the policy gets wrong are learned on easier views than it is tested on.
A larger share of mixed questions is therefore no proof of better learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from strive_rl.algorithm.advantage import has_zero_advantage
from strive_rl.algorithm.schedule import side
from strive_rl.data import Batch
from strive_rl.policy import Prompt
from strive_rl.rollout.builtin import Encoded, reward_grid
from strive_rl.schema import Group, Rewards, Rollout, SampleRef, View
from strive_rl.train.collect import Answered, Everyone, Stages, alone

Redraw = Callable[[SampleRef, float], Group]


@dataclass(frozen=True, kw_only=True)
class Waves:
    """`fixed` M: the step's variants for each question; `most`: those that a question has at most. `alpha` is
    the step's; `focus` and `least` as in rollout.focus and data.alpha_least."""

    fixed: int
    most: int
    alpha: float
    focus: float
    least: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a question stands: its variants so far, and whether their answers are all equally accurate."""

    pick: SampleRef
    variants: int
    alike: bool


def ask_in_waves(
    batch: Batch, stages: Stages, redraw: Redraw, waves: Waves, everyone: Everyone = alone
) -> Answered:
    """Ask a batch whose groups have `most` views at the step's α; `redraw` gives them at another.

    A question of which some variant cannot be encoded is dropped whole, as in the fixed scheme.
    """
    questions = [
        _Question(pick=pick, drawn=group) for pick, group in zip(batch.picks, batch.groups, strict=True)
    ]
    _wave([(question, question.drawn.views[:1]) for question in questions], stages)
    done, budget = 1, waves.fixed * len(everyone([q.pick for q in questions if q.rollout]))
    while True:
        standings = everyone([question.standing() for question in questions if question.rollout])
        more = dict(
            zip([each.pick for each in standings], further(standings, budget, waves.most), strict=True)
        )
        if not any(more.values()):
            return _answered(batch, questions, done)
        wanted = [(question, more.get(question.pick, 0)) for question in questions]
        _wave([(q, q.next_views(count, waves, redraw)) for q, count in wanted if count], stages)
        done += 1


def further(standings: Sequence[Standing], budget: int, most: int) -> list[int]:
    """Variants that each question gets in the next wave, of a step that may have `budget` in all.

    Questions whose answers are alike come first, one variant each; only where there is none left to help is
    the rest dealt out, one by one to whoever has the fewest.
    """
    left = budget - sum(each.variants for each in standings)
    counts = [0] * len(standings)
    open_ = [i for i, each in enumerate(standings) if each.alike and each.variants < most]
    for i in open_[: max(left, 0)]:
        counts[i] = 1
    while not open_ and left > 0:
        total, i = min((each.variants + counts[i], i) for i, each in enumerate(standings))
        if total >= most:
            break
        counts[i] += 1
        left -= 1
    return counts


def focused(waves: Waves, leaning: int, variants: int) -> float:
    """α of a question's next variant, after `variants` whose answers are all right (1), all wrong (−1), or
    neither (0)."""
    if leaning < 0:
        return max(min(waves.least, waves.alpha), waves.alpha * waves.focus**variants)
    return min(1.0, waves.alpha / waves.focus**variants) if leaning else waves.alpha


@dataclass(kw_only=True, eq=False)
class _Question:
    """A question on its way through the waves; `drawn` has `most` views at the step's α."""

    pick: SampleRef
    drawn: Group
    prompts: tuple[Prompt, ...] = ()
    clean: tuple[Prompt, ...] = ()
    rollout: Rollout | None = None
    dropped: tuple[str, str] | None = None

    @property
    def variants(self) -> int:
        return len(self.prompts)

    def standing(self) -> Standing:
        return Standing(pick=self.pick, variants=self.variants, alike=has_zero_advantage(self._accuracy()))

    def next_views(self, count: int, waves: Waves, redraw: Redraw) -> tuple[View, ...]:
        alpha = focused(waves, side(self._accuracy()), self.variants)
        group = self.drawn if alpha == waves.alpha else redraw(self.pick, alpha)
        return group.views[self.variants : self.variants + count]

    def _accuracy(self) -> Rewards:
        if self.rollout is None:
            raise ValueError("a question that was not asked yet has no accuracy")
        return reward_grid(self.rollout, "accuracy")

    def join(self, prompts: tuple[Prompt, ...], clean: tuple[Prompt, ...], rollout: Rollout) -> None:
        self.prompts += prompts
        self.clean += clean
        before = self.rollout
        self.rollout = rollout if before is None else _joined(before, rollout)


Wanted = tuple[_Question, tuple[View, ...]]


def _wave(wanted: Sequence[Wanted], stages: Stages) -> None:
    """Ask each of these questions under its views, those with as many variants so far together."""
    asked: dict[int, list[Wanted]] = {}
    for question, views in wanted:
        asked.setdefault(question.variants, []).append((question, views))
    for first_variant, some in sorted(asked.items()):
        _ask_together(some, stages, first_variant)


def _ask_together(wanted: Sequence[Wanted], stages: Stages, first_variant: int) -> None:
    """Clean views are read beside the first variant alone."""
    groups = [
        replace(question.drawn, views=views, clean=None if first_variant else question.drawn.clean)
        for question, views in wanted
    ]
    encoded = stages.encode(groups)
    kept = {id(group) for group in encoded.groups}
    reasons = iter(encoded.dropped)
    asked = []
    for (question, _), group in zip(wanted, groups, strict=True):
        if id(group) in kept:
            asked.append(question)
        else:
            question.rollout, question.dropped = None, next(reasons)
    clean: list[tuple[Prompt, ...]] = [(prompt,) for prompt in encoded.clean] or [()] * len(asked)
    rollouts = stages.roll(encoded, first_variant)
    for question, prompts, beside, rollout in zip(asked, encoded.prompts, clean, rollouts, strict=True):
        question.join(prompts, beside, rollout)


def _joined(before: Rollout, after: Rollout) -> Rollout:
    """The rollout of a question with the variants of both."""
    return Rollout(
        group=replace(before.group, views=before.group.views + after.group.views),
        completions=before.completions + after.completions,
        rewards=before.rewards + after.rewards,
    )


def _answered(batch: Batch, questions: Sequence[_Question], waves: int) -> Answered:
    kept = [(question, question.rollout) for question in questions if question.rollout]
    encoded = Encoded(
        groups=tuple(rollout.group for _, rollout in kept),
        prompts=tuple(question.prompts for question, _ in kept),
        dropped=tuple(question.dropped for question in questions if question.dropped),
        clean=tuple(prompt for question, _ in kept for prompt in question.clean),
    )
    return Answered(batch=batch, encoded=encoded, rollouts=tuple(rollout for _, rollout in kept), waves=waves)
