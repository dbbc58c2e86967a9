from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from strive_rl.schema import PromptStyle, Reward, SampleRef


def test_the_parts_of_a_reward_by_name_the_custom_ones_last() -> None:
    plain = Reward(accuracy=0.5, format=1.0, total=0.55)
    assert plain.parts == {"accuracy": 0.5, "format": 1.0}
    custom = Reward(accuracy=0.5, format=1.0, total=0.6, custom={"brevity": 0.1})
    assert list(custom.parts.items()) == [("accuracy", 0.5), ("format", 1.0), ("brevity", 0.1)]


def test_references_are_equal_by_position_and_epoch_and_never_change() -> None:
    assert {
        SampleRef(position=1, epoch=0),
        SampleRef(position=1, epoch=0),
        SampleRef(position=1, epoch=1),
    } == {
        SampleRef(position=1, epoch=0),
        SampleRef(position=1, epoch=1),
    }
    with pytest.raises(FrozenInstanceError):
        SampleRef(position=1, epoch=0).epoch = 2  # type: ignore[misc]


def test_answers_are_asked_for_with_a_thought_before() -> None:
    assert (PromptStyle().reason, PromptStyle().form) == (True, "")
