from __future__ import annotations

from strive_data.verify.problem import REMOVE, RESTORE, Problem


def test_a_problem_says_where_what_and_the_way_out() -> None:
    whole = Problem(file="a.tar", what="cut off", sample_id="q 1", offset=512)
    assert str(whole) == f"a.tar, sample 'q 1', byte 512: cut off; {RESTORE}"
    assert (
        str(Problem(file="x", what="no part of a build", todo=REMOVE)) == f"x: no part of a build; {REMOVE}"
    )
    assert str(Problem(file="x", what="gone", offset=0)).startswith("x, byte 0: gone; ")
