"""Position ids by hand, against transformers where conventions agree, and where they differ on purpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.policy import Policy
from strive_rl.policy.architectures.qwen_vl import prompt_positions, video_positions


def test_temporal_ids_count_from_the_first_patch_and_round_halves_up() -> None:
    np.testing.assert_array_equal(
        video_positions(np.array([3.0, 3.25, 3.75, 10.0]), 1, 1, 2)[0], [0, 1, 2, 14]
    )


def test_prompt_by_hand() -> None:
    video = video_positions(np.array([1.0, 4.0]), 1, 2, 2.0)
    np.testing.assert_array_equal(video, [[0, 0, 6, 6], [0, 0, 0, 0], [0, 1, 0, 1]])
    is_video = np.array([0, 0, 1, 1, 1, 1, 0, 0], dtype=bool)
    expected = [
        [0, 1, 2, 2, 8, 8, 9, 10],
        [0, 1, 2, 2, 2, 2, 9, 10],
        [0, 1, 2, 3, 2, 3, 9, 10],
    ]
    np.testing.assert_array_equal(prompt_positions(is_video, [video]), expected)


@pytest.mark.parametrize("marks", [[0, 1, 1, 1, 0], [1, 1, 0, 1, 1], [0, 0, 0, 0, 0]])
def test_a_wrong_number_of_video_tokens_is_refused(marks: list[int]) -> None:
    video = video_positions(np.array([0.0]), 2, 2, 2.0)
    with pytest.raises(ValueError, match=r"expected \[4\]"):
        prompt_positions(np.array(marks, dtype=bool), [video])


def test_stamped_prompt_by_hand() -> None:
    """Text, a patch of 1×3, text, another, text: what follows a patch starts 3 above it."""
    is_video = np.array([0, 1, 1, 1, 0, 0, 1, 1, 1, 0], dtype=bool)
    expected = [
        [0, 1, 1, 1, 4, 5, 6, 6, 6, 9],
        [0, 1, 1, 1, 4, 5, 6, 6, 6, 9],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ]
    patch = video_positions(np.zeros(1), 1, 3, 1.0)
    np.testing.assert_array_equal(prompt_positions(is_video, [patch, patch]), expected)


@pytest.mark.parametrize("marks", [[0, 1, 1, 0, 1], [1, 1, 1, 1], [0, 0], [1, 1, 0, 1, 1, 0, 1, 1]])
def test_a_wrong_number_of_runs_is_refused(marks: list[int]) -> None:
    patch = video_positions(np.zeros(1), 1, 2, 1.0)
    with pytest.raises(ValueError, match=r"expected \[2, 2\]"):
        prompt_positions(np.array(marks, dtype=bool), [patch, patch])


@given(
    times=st.lists(st.floats(0, 3600), min_size=1, max_size=12),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    before=st.integers(0, 5),
    after=st.integers(1, 5),
)
def test_text_always_goes_on_above_everything_before_it(
    times: list[float], height: int, width: int, before: int, after: int
) -> None:
    video = video_positions(np.sort(np.array(times)), height, width, 2.0)
    is_video = np.array([False] * before + [True] * video.shape[1] + [False] * after)
    positions = prompt_positions(is_video, [video])
    text = positions[:, len(is_video) - after :]
    assert (text[0] == text[1]).all()
    assert (text[0] == text[2]).all()
    assert text[0, 0] == positions[:, :-after].max() + 1
    np.testing.assert_array_equal(np.diff(text[0]), 1)


def rope_index(
    policy: Policy, is_video: np.ndarray, grid: tuple[int, int, int], seconds: float
) -> np.ndarray:
    config = policy.model.config
    ids = torch.where(torch.from_numpy(is_video), config.video_token_id, 5)[None]
    positions, _ = policy.model.model.get_rope_index(
        ids,
        mm_token_type_ids=torch.from_numpy(is_video.astype(np.int32) * 2)[None],
        video_grid_thw=torch.tensor([grid]),
        second_per_grid_ts=torch.tensor([seconds]),
    )
    return positions[:, 0].numpy()


def even(grid: tuple[int, int, int], seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Our positions for evenly spaced frame pairs, with three tokens of text on both sides."""
    times = np.arange(grid[0]) * seconds + 7.0
    video = video_positions(times, grid[1] // 2, grid[2] // 2, 2.0)
    is_video = np.array([False] * 3 + [True] * video.shape[1] + [False] * 3)
    return is_video, prompt_positions(is_video, [video])


@pytest.mark.parametrize(("grid", "seconds"), [((3, 12, 8), 1.0), ((2, 4, 12), 2.0), ((1, 2, 2), 1.0)])
def test_equal_to_transformers_where_the_spatial_extent_is_the_largest(
    tiny_policy: Policy, grid: tuple[int, int, int], seconds: float
) -> None:
    is_video, ours = even(grid, seconds)
    np.testing.assert_array_equal(ours, rope_index(tiny_policy, is_video, grid, seconds))


def test_a_long_video_differs_from_transformers_by_design_in_the_text_after_it(tiny_policy: Policy) -> None:
    """Six pairs, one a second, two tokens a second: the last is at 3 + 10; transformers goes on at 3 + 2."""
    is_video, ours = even((6, 4, 4), 1.0)
    theirs = rope_index(tiny_policy, is_video, (6, 4, 4), 1.0)
    np.testing.assert_array_equal(ours[:, :-3], theirs[:, :-3])
    assert ours[0, -3:].tolist() == [14, 15, 16]
    assert theirs[0, -3:].tolist() == [5, 6, 7]


def test_a_fractional_interval_is_rounded_where_transformers_cuts(tiny_policy: Policy) -> None:
    """At 0, 1.6 and 3.2 tokens; transformers cuts 1.6 to 1, before 5.2x even the interval of .8 s to 0."""
    is_video, ours = even((3, 8, 8), 0.8)
    theirs = rope_index(tiny_policy, is_video, (3, 8, 8), 0.8)
    assert np.unique(ours[0, is_video]).tolist() == [3, 5, 6]
    assert np.unique(theirs[0, is_video]).tolist() in ([3, 4, 6], [3])
