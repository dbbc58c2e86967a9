"""--help-settings names every setting with its default."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest

from strive_data.common.console import describe, sections
from strive_data.config import BuildSettings
from strive_data.errors import SettingsError
from strive_rl.config import TrainSettings
from strive_rl.eval.config import BenchmarkSettings


@pytest.mark.parametrize("cls", [BuildSettings, TrainSettings, BenchmarkSettings])
def test_every_setting_is_listed_once(cls: type) -> None:
    lines = describe(cls).splitlines()
    for name, section in sections(cls):
        hints = get_type_hints(section)
        for member in fields(section):
            if not is_dataclass(hints[member.name]):
                key = member.name if name == "top" else f"{name}.{member.name}"
                assert sum(line.startswith(f"  {key} = ") for line in lines) == 1, key


def test_one_section_with_defaults_and_types() -> None:
    text = describe(TrainSettings, "validation")
    assert text.startswith("[validation]\nHow a run with")
    assert "  validation.every = 50   (whole number)" in text
    assert "  validation.questions = none   (whole number, or none)" in text
    assert "  algorithm.loss = grpo   (grpo, dr_grpo, dapo, gspo)" in describe(TrainSettings, "algorithm")
    assert "  log = []   (list of tensorboard, wandb)" in describe(TrainSettings, "top")
    assert "  policy.train_vision = false   (true, false)" in describe(TrainSettings, "policy")
    with pytest.raises(SettingsError, match="'algoritm', did you mean 'algorithm'"):
        describe(TrainSettings, "algoritm")


def test_the_sections_alone() -> None:
    lines = describe(TrainSettings, "sections").splitlines()
    assert [line.split()[0] for line in lines] == [name for name, _ in sections(TrainSettings)]
    assert all(len(line.split()) > 1 for line in lines)
