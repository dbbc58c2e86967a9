from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from tests.strive_data.judge.made_cases import a_case


def test_a_case_cannot_be_changed():
    case = a_case([0, 1], [(1, 2)])
    assert case.stored is None
    with pytest.raises(FrozenInstanceError):
        case.moments = ()
