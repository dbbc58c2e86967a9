from __future__ import annotations

import numpy as np
import pytest
import torch

from strive_data.demo.world import COLOURS, SHAPES, plan_video
from strive_rl.config import PolicySettings
from strive_rl.policy import load_policy
from tools.tiny.pairs import LOOKS, augment, looks_at, make_pairs, patches


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
