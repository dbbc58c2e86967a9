from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.sign_test import SignTest, sign_test


def test_by_hand() -> None:
    # 5 won, 1 lost: 2·(1 + 6)/64.
    assert sign_test([1, 1, 0.2, 1, 1, -1, 0]) == SignTest(won=5, lost=1, tied=1, p=pytest.approx(14 / 64))
    assert sign_test([]) == SignTest(won=0, lost=0, tied=0, p=1.0)
    assert sign_test([1, -1]).p == 1


@given(won=st.integers(0, 40), lost=st.integers(0, 40))
def test_p_is_the_share_of_splits_as_uneven(won: int, lost: int) -> None:
    made = sign_test([1.0] * won + [-1.0] * lost)
    n = won + lost
    as_uneven = sum(comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(won - lost))
    assert made.p == pytest.approx(as_uneven / 2**n)


def test_thousands_of_questions_do_not_overflow() -> None:
    assert 0 < sign_test([1.0] * 4000 + [-1.0] * 3700).p < 0.01
