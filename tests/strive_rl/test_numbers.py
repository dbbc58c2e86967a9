"""The numbers of a record, flat."""

from __future__ import annotations

from strive_rl.numbers import numbers


def test_numbers_by_dotted_name() -> None:
    record = {
        "step": 3,
        "reward": None,
        "seconds": {"total": 1.5},
        "by": {"multiple choice": {"own": {"brief": 0.5}}},
        "reward_by_variant": [0.5, 0.25],
        "advantage_by_variant": [],
        "dropped": ["a", "b"],
        "broken": [],
        "flag": True,
        "text": "x",
    }
    assert numbers(record) == {
        "step": 3.0,
        "seconds.total": 1.5,
        "by.multiple choice.own.brief": 0.5,
        "reward_by_variant.0": 0.5,
        "reward_by_variant.1": 0.25,
        "dropped": 2.0,
        "broken": 0.0,
    }
