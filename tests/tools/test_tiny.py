from __future__ import annotations

import numpy as np
import pytest
import torch

from strive_data.demo.world import COLOURS, SHAPES, plan_video
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from tools.tiny.examples import Example, compose, make_bank, make_examples
from tools.tiny.pool import LOOKS, augment, looks_at, make_pairs, make_pool, patches
from tools.tiny.warm_start import frozen, right_only


def test_patches_are_those_of_the_video_processor() -> None:
    processor = load_policy("demo", PolicySettings(device="cpu")).processor.video_processor
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 28, 28, 3), dtype=np.uint8)
    clips = [torch.from_numpy(pair.transpose(0, 3, 1, 2).copy()) for pair in frames]
    size = {"shortest_edge": 784, "longest_edge": 784}
    options = {"size": size, "do_sample_frames": False, "cap_pixels_per_frame": False}
    expected = processor(clips, return_tensors="pt", **options)["pixel_values_videos"]
    assert patches(frames, processor).numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_looks_name_the_needle_in_sight() -> None:
    plan = plan_video(seed=3, index=0, questions=4)
    asked = plan.asked[2]
    looks = looks_at(plan, asked.spans[0][0])
    place = COLOURS.index(asked.needles[0].colour) * len(SHAPES) + SHAPES.index(asked.needles[0].shape)
    assert np.flatnonzero(looks).tolist() == [place]
    assert looks_at(plan, asked.spans[0][1]).sum() == 0


def test_most_pairs_show_a_needle_and_equal_seeds_equal_pairs() -> None:
    pairs = make_pairs(count=60, seed=1)
    assert pairs.frames.shape == (60, 2, 28, 28, 3)
    assert pairs.looks.shape == (60, LOOKS)
    assert 0.7 < (pairs.looks.sum(axis=1) > 0).mean() < 1
    assert make_pairs(count=60, seed=1).frames.tobytes() == pairs.frames.tobytes()


def test_augmentation_changes_frames_little() -> None:
    frames = make_pairs(count=20, seed=2).frames
    changed = augment(frames, np.random.default_rng(0))
    assert changed.dtype == np.uint8
    assert (changed != frames).any()
    assert np.abs(changed.astype(float).mean() - frames.mean()) < 10


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
        looks = np.stack([rows[tuple(feature.tolist())] for feature in made.prompt.features])
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
