"""The page stands on its own and tells runs apart."""

from __future__ import annotations

import re

from strive_rl.inspect.plot.chart import chart
from strive_rl.inspect.plot.curves import arms
from strive_rl.inspect.plot.history import History
from strive_rl.inspect.plot.page import caption, curves_page
from tests.strive_rl.inspect.plot.made_runs import history


def page(*runs: History, group: bool = False) -> str:
    made = arms(runs, group=group)
    return curves_page(chart(made, 1), made, 1)


def test_a_page_fetches_nothing_and_escapes_names() -> None:
    text = page(history("<script>", [0.0, 1.0]))
    assert "<script>" not in text
    assert not re.findall(r"(?:src|href)=", text)
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def test_settings_that_differ_are_told_and_others_are_not() -> None:
    one = history("a", [0.0, 1.0], settings={"optim": {"lr": 1.0, "schedule": "constant"}, "steps": 10})
    other = history("b", [0.5], settings={"optim": {"lr": 2.0, "schedule": "constant"}, "steps": 10})
    text = page(one, other)
    assert "<td>optim.lr</td><td>1.0</td><td>2.0</td>" in text
    assert "optim.schedule" not in text
    assert "<td>2 of 10</td><td>1</td>" in text
    assert "In which settings they differ" not in page(one)
    assert "In which settings they differ" not in page(history("a", [0.1]), history("b", [0.2]))


def test_a_number_that_a_run_does_not_have_is_a_dash() -> None:
    assert "<td>1</td><td>0.5</td><td>–</td>" in page(history("a", [0.5]))


def test_captions_say_how_curves_are_to_be_read() -> None:
    runs = [history("a", [0.5], settings={}), history("b", [0.5], settings={})]
    one, seeds = arms(runs[:1], group=False), arms(runs, group=True)
    assert caption(one, 1).startswith("As they were written; a gap")
    assert caption(seeds, 5).startswith("Averaged over about 5 steps")
    assert "with the range of all around it" in caption(seeds, 5)
