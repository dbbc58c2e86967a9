from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.report import Selection, html_page, select_positions, write_report
from strive_data.schema import Sample
from strive_data.shards.reader import ShardSet
from tests.strive_data.browser import browser, measure
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_question, a_sample


def sections(page: Path) -> list[str]:
    return re.findall(r'<section id="sample-([^"]+)"', page.read_text())


def with_question(sample_id: str, **changes: object) -> Sample:
    sample = a_sample(sample_id)
    object.__setattr__(sample.meta, "question", a_question(sample_id, **changes))
    return sample


def test_the_page_is_self_contained_and_whole(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample(str(i)) for i in range(5)])
    out = tmp_path / "page" / "r.html"
    assert write_report(build, out, Selection(limit=3)) == 3
    page = out.read_text()
    assert sections(out) == ["0", "1", "3"]
    assert page.count("<svg") == 3
    links = re.findall(r'(?:href|src)="([^"]{0,30})', page)
    assert links
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links)
    assert '<li class="right">B. TAXI</li>' in page
    assert [path.name for path in out.parent.iterdir()] == ["r.html"]


def test_every_link_within_the_page_leads_somewhere_and_no_id_stands_twice(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample(name) for name in ("a", "b", "c.d", "e", "f", "g")])
    page = "".join(html_page(ShardSet.open(build), range(6)))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', page)
    assert set(targets) <= set(ids)
    assert page.count("<li><a href=") == 6


def test_few_samples_need_no_index(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample(str(i)) for i in range(5)])
    assert "<nav" not in "".join(html_page(ShardSet.open(build), range(5)))


def test_named_samples_are_shown_and_unknown_ones_refused(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample("a"), a_sample("b")])
    assert write_report(build, tmp_path / "r.html", Selection(sample_ids=["b"])) == 1
    assert sections(tmp_path / "r.html") == ["b"]
    with pytest.raises(SettingsError, match="unknown sample 'c'"):
        write_report(build, tmp_path / "r.html", Selection(sample_ids=["c"]))


def test_samples_are_selected_by_condition_spread_or_drawn(tmp_path: Path) -> None:
    samples = [a_sample(f"s{i}", count=10 + i % 2) for i in range(20)]
    build = write_build(tmp_path / "build", samples)
    known = ShardSet.open(build).sample_ids

    def chosen(**asked: Any) -> list[int]:
        return select_positions(build, known, Selection(**asked))

    assert chosen(limit=4) == [0, 5, 10, 15]
    assert chosen(limit=99) == list(range(20))
    assert chosen(where="candidates = 11", limit=5) == [1, 5, 9, 13, 17]
    drawn = chosen(where="candidates = 11", limit=5, seed=1)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 5
    assert all(place % 2 for place in drawn)
    assert drawn == chosen(where="candidates = 11", limit=5, seed=1)
    assert drawn != chosen(where="candidates = 11", limit=5, seed=2)
    with pytest.raises(UsageError, match="holds for none of 20 samples"):
        chosen(where="candidates = 3")


def test_text_of_strangers_is_escaped(tmp_path: Path) -> None:
    hostile = {"question": "<script>alert(1)</script>", "answer": "<b>", "options": (), "source": ""}
    samples = [with_question(f'{i}"><i>', **hostile) for i in range(6)]
    build = write_build(tmp_path / "build", samples)
    page = "".join(html_page(ShardSet.open(build), range(6)))
    assert "<script" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    """The page of all samples is several times longer than the most memory that writing it takes."""
    build = write_build(tmp_path / "build", [a_sample(f"s{i}", count=64) for i in range(200)])
    peaks = []
    for _ in range(2):  # a module that is imported on the way takes more than the page, once
        tracemalloc.start()
        write_report(build, tmp_path / "r.html", Selection(limit=200))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < (tmp_path / "r.html").stat().st_size / 5


WIDTHS = (390, 1180)
needs_browser = pytest.mark.skipif(browser() is None, reason="no chromium or chrome is installed")
MEASURE = """(doc, view) => {
  const box = doc.querySelector(".scroll"), text = [...doc.querySelectorAll("h1,h2,p,li,a,span")];
  const visible = [...doc.querySelectorAll("body *")].filter(e => !e.closest("svg"));
  const use = doc.querySelector("use").getBoundingClientRect(), svg = doc.querySelector("svg");
  const zoom = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  box.scrollLeft = 1e6;
  return {
    width: view.innerWidth, page: doc.documentElement.scrollWidth,
    beyond: visible.filter(e => e.getBoundingClientRect().right > view.innerWidth + 1).map(e => e.tagName),
    box: box.clientWidth, inside: box.scrollWidth, scrolled: box.scrollLeft,
    least: Math.min(...text.map(e => parseFloat(view.getComputedStyle(e).fontSize))),
    drawn: parseFloat(view.getComputedStyle(doc.querySelector("svg text")).fontSize) * zoom,
    sections: doc.querySelectorAll("section").length, use: [use.width, use.height],
  };
}"""


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A page with an index and with text that is hard to break."""
    hard = {"question": "Which " + "verylongword" * 20 + "?", "video": "v/" + "x" * 180 + ".mp4"}
    samples = [a_sample(str(i), count=40) for i in range(5)] + [with_question("hard" * 15, **hard)]
    build = write_build(tmp_path / "build", samples)
    return "".join(html_page(ShardSet.open(build), range(6)))


Measure = Callable[[str, int], dict[str, Any]]


@pytest.fixture
def seen(tmp_path: Path) -> Measure:
    return lambda page, width: measure(page, width=width, script=MEASURE, folder=tmp_path)


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_browser_nothing_overflows_and_text_is_readable(page: str, seen: Measure, width: int) -> None:
    assert "width=device-width,initial-scale=1" in page
    result = seen(page, width)
    assert (result["width"], result["page"], result["beyond"]) == (width, width, [])
    assert result["least"] >= 14
    assert result["drawn"] >= 12
    assert result["sections"] == 6
    assert result["use"] == pytest.approx([130 * 0.94, 130 * 0.94 / 2], abs=0.1)


@needs_browser
def test_on_a_phone_the_time_line_scrolls_within_its_box(page: str, seen: Measure) -> None:
    result = seen(page, 390)
    assert result["box"] <= 390 < result["inside"]
    assert result["scrolled"] == pytest.approx(result["inside"] - result["box"], abs=1)


@needs_browser
def test_the_measurement_sees_a_page_that_overflows(page: str, seen: Measure) -> None:
    """Negative control: without the box of its own, the time line widens the page."""
    result = seen(page.replace("overflow-x:auto", "").replace("max-width:100%", ""), 390)
    assert result["page"] > 1000
    assert np.isclose(result["scrolled"], 0)
