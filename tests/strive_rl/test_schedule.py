from __future__ import annotations

import pytest

from strive_rl.config import OptimSettings
from strive_rl.schedule import learning_rate


def test_linear_then_constant():
    settings = OptimSettings(lr=8.0, warmup_steps=4)
    assert [learning_rate(step, settings) for step in range(6)] == [2, 4, 6, 8, 8, 8]


@pytest.mark.parametrize("step", [0, 1, 10_000])
def test_no_warmup(step):
    assert learning_rate(step, OptimSettings(lr=3e-6)) == 3e-6
