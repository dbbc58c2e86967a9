"""The page of results: what is on it, that nothing of an output is markup there, and that it fits a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strive_rl.benchmarks.items import Scored
from strive_rl.benchmarks.rules.open_answers import MMVU
from strive_rl.benchmarks.scoring import scored, summarise
from strive_rl.eval.pages import compare_page, score_page, spread
from tests.strive_data.made.browser import browser, measure
from tests.strive_rl.benchmarks.made_items import choice_item, item

EVIL = '<script>alert("x")</script><b onclick=x>B</b> & "quotes"'
LONG = "word" * 1000


def rows() -> list[Scored]:
    choices = [(choice_item("B", discipline="Science"), output) for output in ("B", EVIL, LONG, None, "")]
    return [scored(MMVU, one, output) for one, output in [*choices, (item("salt"), "brine")]]


def page() -> str:
    summary = summarise(MMVU, rows(), missing="wrong", resamples=20, seed=0)
    names = {convention.name: "" for convention in MMVU.conventions}
    return score_page({"title": "MMVU", "conventions": names, "notes": ["A & B"]} | summary, rows())


def test_totals_categories_notes_and_examples() -> None:
    html = page()
    assert "<h1>MMVU</h1>" in html
    assert '<p class="note">A &amp; B</p>' in html
    assert "Science" in html
    for title in ("Wrong: 3, 3 shown", "Right: 1, 1 shown", "Awaiting a judge: 1", "Without an answer: 1"):
        assert title in html
    assert '<li class="right">B. candles</li>' in html
    assert "official · no answer found" in html
    assert "(2500 more characters)" in html


def test_outputs_are_text_and_nothing_is_fetched() -> None:
    html = page()
    assert "<script" not in html
    assert "onclick=x&gt;B" in html
    assert "http" not in html
    assert "src=" not in html


def test_won_and_lost_questions_stand_side_by_side() -> None:
    a, b = scored(MMVU, choice_item("B"), "A"), scored(MMVU, choice_item("B"), "B")
    estimate = {"mean": 0.5, "low": -0.1, "high": 0.8, "questions": 2, "videos": 1}
    test = {"won": 1, "lost": 1, "tied": 0, "p": 1.0}
    part = {"difference": estimate, "a": estimate, "b": estimate}
    by = {"size": {"big": part | test, "small": part | test}, "source": {"only": part | test}}
    results: dict[str, Any] = {
        "title": "T",
        "convention": "official",
        "a": "a<b",
        "b": "b",
        "notes": [],
        "by": by,
    }
    results |= {"frames_a": "uniform", "frames_b": "uniform", "unlike": ["votes: 1 in A, 4 in B"]}
    results |= {"overall": part, "sign_test": test, "sign_test_videos": test, "readings": {"official": part}}
    html = compare_page(results, [(a, b), (b, a), (a, a)])
    assert "+50.00 points" in html
    assert "Won by B: 1, 1 shown" in html
    assert "Lost by B: 1, 1 shown" in html
    assert "A: a&lt;b, uniform frames" in html
    assert "votes: 1 in A, 4 in B" in html
    # A breakdown into one part says nothing.
    assert ("By size" in html, "By source" in html) == (True, False)


def test_examples_are_spread() -> None:
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread([1, 2], 4) == [1, 2]


@pytest.mark.skipif(browser() is None, reason="no browser is installed")
def test_no_width_overflows(tmp_path: Path) -> None:
    script = "(doc, view) => doc.documentElement.scrollWidth - view.innerWidth"
    assert measure(page(), width=390, script=script, folder=tmp_path) <= 0
