from __future__ import annotations

import pytest

from strive_data.judge.compare import Contest, compare
from strive_data.judge.table import as_text
from tests.strive_data.judge.made_cases import peaked_cases


@pytest.fixture(scope="module")
def table():
    contest = Contest(samplers=("uniform", "comb"), frames=(4, 2), variants=(1, 2), noise=(0,), resamples=20)
    return compare(peaked_cases(), contest)


def test_the_screen_shows_the_mean_and_half_the_interval(table):
    text = as_text(table)
    rows = [[cell.strip() for cell in line.strip("│").split("┆")] for line in text.splitlines()[3:-1]]
    assert len(rows) == 8
    # Ordered by frames and variants, so that samplers stand beside each other.
    assert [row[1:4] for row in rows[:3]] == [
        ["2", "1", "uniform"],
        ["2", "1", "comb"],
        ["2", "2", "uniform"],
    ]
    first = table.filter(sampler="uniform", frames=2, variants=1).row(0, named=True)
    half = (first["moment_recall_high"] - first["moment_recall_low"]) / 2
    assert rows[0][4] == f"{first['moment_recall']:.3f}±{half:.3f}".replace("±0", "±")
    assert rows[0][-1] == "–"
