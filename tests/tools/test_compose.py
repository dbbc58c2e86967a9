from __future__ import annotations

import numpy as np
import pytest

from strive_data.demo.world import COLOURS, SHAPES
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from tools.tiny.compose import compose, make_bank
from tools.tiny.examples import Example, make_examples
from tools.tiny.pool import make_pool
from tools.tiny.warm_start import frozen, right_only


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("demo", PolicySettings(device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def examples(policy: Policy) -> list[Example]:
    return frozen(policy, make_examples(policy, make_pool(videos=60, seed=5), samplers=("comb",), seed=0))


def test_the_right_answer_is_what_the_one_pair_shows(policy: Policy, examples: list[Example]) -> None:
    bank, rng = make_bank(examples), np.random.default_rng(0)
    rows = {tuple(feature.tolist()): look for feature, look in zip(bank.features, bank.looks, strict=True)}
    for example in examples[:24]:
        made = compose(policy, bank, example, rng, crowded=1.0)
        looks = np.stack([rows[tuple(feature.tolist())] for feature in made.prompt.features.tokens])
        assert looks.any(axis=(1, 2)).all()  # crowded: every pair shows a needle
        needle = example.asked.needles[0]
        if example.asked.asks == "colour":
            shown = looks[:, :, SHAPES.index(needle.shape)].any(axis=0)
            names = [COLOURS[i] for i in np.flatnonzero(shown)]
        else:
            shown = looks[:, COLOURS.index(needle.colour), :].any(axis=0)
            names = [SHAPES[i] for i in np.flatnonzero(shown)]
        (option,) = (option for option in example.asked.options if option[0] == made.letter)
        assert names == [option[3:]]
        assert right_only(made).targets[0].text.endswith(f"<answer>{made.letter}</answer>")


def test_only_the_letter_of_other_answers_counts(policy: Policy, examples: list[Example]) -> None:
    made = compose(policy, make_bank(examples), examples[0], np.random.default_rng(1), crowded=0.0)
    counts = sorted(int(row.sum()) for row in made.weights)
    assert counts == [1, 1, 1, len(right_only(made).targets[0].ids)]
    for target, row in zip(made.targets, made.weights, strict=True):
        assert policy.tokenizer.decode([target.ids[-3]]) in "ABCD"
        assert row[len(target.ids) - 3] == 1
