"""What is the same for every architecture: clips."""

from __future__ import annotations

import numpy as np

from strive_rl.policy.architecture import Clip


def test_patch_times_are_the_means_of_merged_frames() -> None:
    clip = Clip(grid=(2, 4, 6), times=np.array([0.0, 1.0, 4.0, 9.0]))
    np.testing.assert_array_equal(clip.patch_times, [0.5, 6.5])


def test_merging_leaves_time_alone() -> None:
    assert Clip(grid=(2, 4, 6), times=np.zeros(4)).merged(2) == (2, 2, 3)
