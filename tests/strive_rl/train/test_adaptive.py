"""Waves by hand, their price, and what they gain on questions whose difficulty α moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import SettingsError
from strive_rl.config import AlgorithmSettings, DataSettings, RolloutSettings, TrainSettings
from strive_rl.data import rank_slice
from strive_rl.rollout.builtin import reward_grid
from strive_rl.schema import SampleRef
from strive_rl.train.adaptive import Standing, Waves, ask_in_waves, focused, further
from strive_rl.train.collect import Answered, ask_once, teaching
from tests.strive_rl.asked_questions import FakePolicy, made_batch, redraw, view

WAVES = Waves(fixed=2, most=4, alpha=0.4, focus=0.5, least=0.05)


def standing(variants: int, alike: bool, position: int = 0) -> Standing:
    return Standing(pick=SampleRef(position=position, epoch=0), variants=variants, alike=alike)


def alphas(asked: Answered, place: int) -> list[float]:
    return [float(each.times[0]) for each in asked.encoded.groups[place].views]


def by_sharpness(position: int, alpha: float) -> float:
    """Question 0 is always right, 1 always wrong, 2 right from α = .2 down only, 3 wrong from α = .8 up."""
    return {0: 1.0, 1: 0.0, 2: float(alpha <= 0.2), 3: float(alpha < 0.8)}[position]


def test_waves_by_hand() -> None:
    policy = FakePolicy(chance=by_sharpness, completions=2)
    asked = ask_in_waves(made_batch([0, 1, 2, 3]), policy.stages, redraw(4), WAVES)
    # 8 variants: one each; 4 left for the four that are alike; then none is left.
    assert policy.calls == [(0, [0, 1, 2, 3]), (1, [0, 1, 2, 3])]
    assert asked.waves == 2
    assert [alphas(asked, i) for i in range(4)] == [[0.4, 0.8], [0.4, 0.2], [0.4, 0.2], [0.4, 0.8]]
    accuracies = [reward_grid(rollout, "accuracy").tolist() for rollout in asked.rollouts]
    assert accuracies == [[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [1, 1]], [[1, 1], [0, 0]]]
    assert [len(prompts) for prompts in asked.encoded.prompts] == [2] * 4


def test_who_is_mixed_at_once_frees_variants_for_the_others() -> None:
    policy = FakePolicy(chance=lambda p, alpha: {0: 0.5, 1: 0.0}[p], completions=6, seed=1)
    asked = ask_in_waves(made_batch([0, 1]), policy.stages, redraw(4), WAVES)
    assert policy.calls == [(0, [0, 1]), (1, [1]), (2, [1])]
    assert [alphas(asked, i) for i in range(2)] == [[0.4], pytest.approx([0.4, 0.2, 0.1])]


def test_what_is_left_goes_to_the_mixed_at_the_steps_alpha() -> None:
    policy = FakePolicy(chance=lambda p, alpha: 0.5 if p < 2 else float(alpha < 0.4), completions=8)
    asked = ask_in_waves(made_batch([0, 1, 2]), policy.stages, redraw(4), WAVES)
    assert policy.calls == [(0, [0, 1, 2]), (1, [2]), (1, [0, 1])]
    assert [alphas(asked, i) for i in range(3)] == [[0.4, 0.4], [0.4, 0.4], [0.4, 0.2]]
    assert asked.waves == 3


def test_a_wave_of_unequal_numbers_is_asked_number_by_number() -> None:
    waves = replace(WAVES, fixed=4, most=6)
    policy = FakePolicy(chance=lambda p, alpha: 0.5 if p == 0 else float(alpha < 0.2), completions=8)
    asked = ask_in_waves(made_batch([0, 1], variants=6), policy.stages, redraw(6), waves)
    # 8 variants: two, then question 1 is mixed after its third, at α = .1; 4 left, dealt out 3 and 1.
    assert policy.calls == [(0, [0, 1]), (1, [1]), (2, [1]), (1, [0]), (3, [1])]
    assert [alphas(asked, i) for i in range(2)] == [[0.4] * 4, pytest.approx([0.4, 0.2, 0.1, 0.4])]


def test_alpha_of_the_next_variant() -> None:
    assert [focused(WAVES, -1, n) for n in (1, 2, 3, 4)] == pytest.approx([0.2, 0.1, 0.05, 0.05])
    assert [focused(WAVES, 1, n) for n in (1, 2)] == [0.8, 1.0]
    assert focused(WAVES, 0, 3) == 0.4
    # A step that is more focused than the least stays where it is.
    assert focused(replace(WAVES, alpha=0.02), -1, 2) == 0.02


def test_dealing_by_hand() -> None:
    open_, mixed, full = standing(1, True), standing(1, False), standing(4, True)
    assert further([open_, mixed, open_, open_], budget=6, most=4) == [1, 0, 1, 0]
    assert further([open_, mixed, full], budget=9, most=4) == [1, 0, 0]
    assert further([mixed, standing(3, False), full], budget=11, most=4) == [3, 0, 0]
    assert further([mixed, standing(2, False)], budget=6, most=4) == [2, 1]
    assert further([full, standing(4, False)], budget=99, most=4) == [0, 0]
    assert further([], budget=0, most=4) == []


@given(
    questions=st.integers(1, 8),
    fixed=st.integers(1, 4),
    more=st.integers(0, 4),
    completions=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_the_price_is_that_of_the_fixed_scheme(
    questions: int, fixed: int, more: int, completions: int, seed: int
) -> None:
    levels = np.random.default_rng(seed).choice([0.0, 0.1, 0.5, 0.9, 1.0], size=questions)
    policy = FakePolicy(chance=lambda p, alpha: float(levels[p]), completions=completions, seed=seed)
    waves = replace(WAVES, fixed=fixed, most=fixed + more)
    batch = made_batch(range(questions), variants=waves.most)
    asked = ask_in_waves(batch, policy.stages, redraw(waves.most), waves)
    sizes = [len(rollout.completions) for rollout in asked.rollouts]
    assert sum(sizes) == questions * fixed
    assert all(1 <= size <= waves.most for size in sizes)
    assert asked.waves <= waves.most + 1
    again = FakePolicy(chance=policy.chance, completions=completions, seed=seed)
    same = ask_in_waves(batch, again.stages, redraw(waves.most), waves)
    assert [r.completions for r in same.rollouts] == [r.completions for r in asked.rollouts]
    if not more:
        whole = ask_once(made_batch(range(questions), variants=fixed), again.stages)
        alike = [i for i, r in enumerate(whole.rollouts) if not teaching([r])]
        assert [sizes[i] for i in alike] == [fixed] * len(alike)


def test_two_processes_ask_what_one_asks() -> None:
    """Each plays its part in turn, told beforehand what the other says: the decisions are global."""
    levels = np.random.default_rng(5).choice([0.0, 0.2, 0.6, 1.0], size=6)
    said: list[list[Any]] = []

    def asked_by(positions: Sequence[int], everyone: Any) -> Answered:
        policy = FakePolicy(chance=lambda p, alpha: float(levels[p]), completions=3)
        return ask_in_waves(made_batch(positions), policy.stages, redraw(4), WAVES, everyone)

    def overhears(mine: list[Any]) -> list[Any]:
        said.append(mine)
        return mine

    alone = asked_by(range(6), overhears)
    for rank in (0, 1):
        turn = count()

        def everyone(mine: list[Any], turn: Any = turn, rank: int = rank) -> list[Any]:
            joined = said[next(turn)]
            assert mine == rank_slice(joined, rank, 2)
            return joined

        part = asked_by(rank_slice(range(6), rank, 2), everyone)
        mine = rank_slice(alone.rollouts, rank, 2)
        assert [r.completions for r in part.rollouts] == [r.completions for r in mine]
        assert next(turn) == len(said)


def test_a_question_that_cannot_be_encoded_is_dropped_whole_and_frees_its_variants() -> None:
    policy = FakePolicy(chance=lambda p, alpha: float(p == 0), completions=2, unreadable={0: 0, 1: 1})
    asked = ask_in_waves(made_batch([0, 1, 2]), policy.stages, redraw(4), WAVES)
    assert asked.encoded.dropped == (("q0", "too long"), ("q1", "too long"))
    assert [group.question.sample_id for group in asked.encoded.groups] == ["q2"]
    # Two could be asked, so four variants: that of question 1, dropped at its second, does not count.
    assert [len(rollout.completions) for rollout in asked.rollouts] == [4]


def test_the_clean_view_is_read_once() -> None:
    batch = made_batch([0, 1])
    groups = tuple(replace(group, clean=view(1.0, 0)) for group in batch.groups)
    policy = FakePolicy(chance=lambda p, alpha: 0.0)
    asked = ask_in_waves(replace(batch, groups=groups), policy.stages, redraw(4), WAVES)
    assert len(asked.encoded.clean) == 2
    assert all(group.clean for group in asked.encoded.groups)


def simulated(questions: int, seed: int) -> tuple[float, float]:
    """Share of mixed questions, fixed and adaptive, where a more focused view helps by an amount that differs
    between questions."""
    numbers = np.random.default_rng(seed)
    ease, gain = numbers.normal(0.8, 2.5, questions), numbers.gamma(2.0, 0.8, questions)

    def chance(position: int, alpha: float) -> float:
        return float(1 / (1 + np.exp(-ease[position] - gain[position] * np.log2(0.4 / alpha))))

    policy = FakePolicy(chance=chance, seed=seed)
    fixed = ask_once(made_batch(range(questions), variants=2), policy.stages)
    adaptive = ask_in_waves(made_batch(range(questions)), policy.stages, redraw(4), WAVES)
    prompts = [sum(len(each) for each in asked.encoded.prompts) for asked in (fixed, adaptive)]
    assert prompts[0] == prompts[1] == 2 * questions
    return teaching(fixed.rollouts) / questions, teaching(adaptive.rollouts) / questions


def test_more_questions_are_mixed_at_equal_price() -> None:
    shares = np.array([simulated(64, seed) for seed in range(6)])
    differences = shares[:, 1] - shares[:, 0]
    assert differences.min() > 0
    assert differences.mean() > 0.05
    # Negative control: where no view changes anything and every answer is sure, nothing is gained.
    policy = FakePolicy(chance=lambda p, alpha: float(p % 2))
    assert teaching(ask_in_waves(made_batch(range(8)), policy.stages, redraw(4), WAVES).rollouts) == 0


@pytest.mark.parametrize(
    ("rollout", "data", "algorithm", "says"),
    [
        ({"max_variants": 1}, {}, {}, r"max_variants: got 1, expected data\.variants, 2, or more"),
        ({}, {"draw": "stored"}, {}, r"data\.draw=stored reads those of the build"),
        ({}, {}, {"logprob_condition": "cross"}, "use own or clean"),
    ],
)
def test_settings_that_contradict_each_other(
    rollout: dict[str, Any], data: dict[str, Any], algorithm: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        TrainSettings(
            rollout=RolloutSettings(adaptive=True, **rollout),
            data=DataSettings(**data),
            algorithm=AlgorithmSettings(**algorithm),
        )


def test_settings_of_waves() -> None:
    with pytest.raises(SettingsError, match=r"only rollout\.adaptive=true has waves"):
        RolloutSettings(max_variants=3)
    for focus in (0.0, 1.0):
        with pytest.raises(SettingsError, match="expected more than 0, less than 1"):
            RolloutSettings(focus=focus)
    made = [TrainSettings(rollout=RolloutSettings(adaptive=on)).most_variants for on in (False, True)]
    assert made == [2, 4]
