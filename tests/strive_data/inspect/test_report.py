from __future__ import annotations

import re
import tracemalloc
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.config import BuildSettings, SamplerSettings
from strive_data.engines.local import make_sample
from strive_data.errors import FailureKind, SettingsError, UsageError
from strive_data.inspect.report import (
    FRAME_PIXELS,
    Selection,
    embedded_frame,
    report_page,
    select_positions,
    write_report,
)
from strive_data.inspect.tables import equal_variants, evidence_beyond
from strive_data.schema import Sample
from strive_data.score import FrameScores
from strive_data.shards.format import encode_frames, encode_jpeg, jpeg_size
from strive_data.shards.reader import ShardSet
from tests.strive_data.made.browser import browser, measure
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_failure, a_question, a_sample, some_candidates


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
    assert page.count('<svg class="chart"') == 3
    links = re.findall(r'(?:href|src)="([^"]{0,30})', page)
    assert links
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links)
    assert '<li class="right">B. TAXI</li>' in page
    assert [path.name for path in out.parent.iterdir()] == ["r.html"]


def test_every_frame_is_embedded_once_and_shown_in_each_row_that_takes_it(tmp_path: Path) -> None:
    sample = a_sample("c.d")
    build = write_build(tmp_path / "build", [sample, a_sample("2")])
    page = "".join(report_page(build, ShardSet.open(build), range(2)))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    distinct = np.union1d(sample.variants, sample.uniform)
    own = [name for name in ids if name.startswith(f"{sample.key}-f")]
    assert own == [f"{sample.key}-f{i}" for i in distinct]
    assert f"base64,{b64encode(sample.jpegs_of(distinct)[0]).decode()}" in page
    rows = [*sample.variants, sample.uniform]
    assert re.findall(f'href="#{sample.key}-f([0-9]+)"', page) == [str(i) for row in rows for i in row]


def test_a_large_frame_is_embedded_smaller_and_a_small_one_keeps_its_bytes() -> None:
    large = encode_jpeg(np.zeros((280, 560, 3), np.uint8), 90)
    data = b64decode(embedded_frame(large).removeprefix("data:image/jpeg;base64,"))
    assert jpeg_size(data) == (FRAME_PIXELS, FRAME_PIXELS // 2)
    small = encode_jpeg(np.zeros((28, 56, 3), np.uint8), 90)
    assert b64decode(embedded_frame(small).removeprefix("data:image/jpeg;base64,")) == small


def test_failures_and_damage_come_first(tmp_path: Path) -> None:
    failures = [a_failure(f"x{i}", FailureKind.NO_MOOV, message="cut <off>") for i in range(3)]
    damaged = a_sample("1")
    object.__setattr__(damaged.meta, "info", replace(damaged.meta.info, decode_errors=24))
    build = write_build(tmp_path / "build", [damaged, a_sample("2")], failures=failures)
    head = "".join(report_page(build, ShardSet.open(build), range(2))).partition("<section")[0]
    assert "<li>3 × <b>no_moov</b> (decode)" in head
    assert "cut &lt;off&gt;" in head
    assert "<li>videos/a.mp4: 24 errors</li>" in head
    assert "MB" in head
    assert [f"strive-data {command} {build} --" in head for command in ("inspect", "report")] == [True, True]
    assert f"<title>What the policy will see: {build.name}</title>" in head
    sound = write_build(tmp_path / "sound", [a_sample("1")])
    assert 'class="note"' not in "".join(report_page(sound, ShardSet.open(sound), [0]))


def test_a_page_of_some_samples_does_not_replace_that_of_all(tmp_path: Path) -> None:
    build = write_build(tmp_path / "my build", [a_sample("a"), a_sample("b", count=11)])
    chosen = Selection(where="candidates < 11")
    assert (Selection(limit=1, seed=2).file, chosen.file) == ("report.html", "report-chosen.html")
    assert Selection(sample_ids=["b"]).file == "report-chosen.html"
    write_report(build, build / chosen.file, chosen)
    assert "1 shown here, of those where candidates &lt; 11" in (build / chosen.file).read_text()


@pytest.mark.parametrize(
    ("spans", "late"),
    [
        (((0.0, 10.0), (9.0, 11.0)), False),
        (((9.0, 11.5),), True),
        (((0.0, 1.0), (10.5, 10.6)), True),
        ((), False),
    ],
)
def test_evidence_beyond_the_end_is_said_where_damage_is(
    tmp_path: Path, spans: tuple[tuple[float, float], ...], late: bool
) -> None:
    sample = with_question("a<b", evidence_spans=spans)
    object.__setattr__(sample.meta, "info", replace(sample.meta.info, duration_seconds=10.0))
    build = write_build(tmp_path / "build", [with_question("0", evidence_spans=()), sample])
    assert evidence_beyond(build) == ["a<b"] * late
    page = "".join(report_page(build, ShardSet.open(build), [0]))
    assert ("evidence beyond the end" in page, "<p>a&lt;b</p>" in page) == (late, late)


def test_samples_with_equal_variants_are_counted(tmp_path: Path) -> None:
    """Those with as many candidates as a variant has frames, or fewer, such as images."""
    samples = [a_sample("many", count=10), a_sample("few", count=3), a_sample("one", count=1)]
    assert [len({*map(bytes, sample.variants)}) for sample in samples] == [2, 1, 1]
    assert equal_variants(write_build(tmp_path / "build", samples)) == 2


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
    page = "".join(report_page(build, ShardSet.open(build), range(6)))
    assert page.count("<script") == 1  # our own
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample(f"s{i}", count=64) for i in range(80)])
    peaks = []
    for limit in (20, 20, 80):  # the first call also imports modules
        tracemalloc.start()
        write_report(build, tmp_path / "r.html", Selection(limit=limit))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < (tmp_path / "r.html").stat().st_size / 20


WIDTHS = (390, 1280, 1920)
needs_browser = pytest.mark.skipif(browser() is None, reason="no chromium or chrome is installed")
MEASURE = """(doc, view) => {
  const visible = [...doc.querySelectorAll("body *")].filter(e => !e.closest("svg, dialog"));
  const frames = [...doc.querySelector(".frames").children].map(e => e.getBoundingClientRect());
  const text = [...doc.querySelectorAll("h1,h2,p,li,button,.chart text")];
  const search = doc.getElementById("search"), sort = doc.getElementById("sort");
  const shown = () => [...doc.querySelectorAll("section:not([hidden])")].map(e => e.id);
  const result = {
    width: view.innerWidth, page: doc.documentElement.scrollWidth,
    beyond: visible.filter(e => e.getBoundingClientRect().right > view.innerWidth + 1).map(e => e.tagName),
    least: Math.min(...text.map(e => parseFloat(view.getComputedStyle(e).fontSize))),
    curve: doc.querySelector(".curve").getBoundingClientRect().width,
    frame: Math.min(...frames.map(box => box.width)), lines: new Set(frames.map(box => box.top)).size,
  };
  sort.value = "-seconds"; sort.dispatchEvent(new view.Event("change")); result.longest = shown()[0];
  search.value = "verylong HARD"; search.dispatchEvent(new view.Event("input")); result.found = shown();
  doc.querySelectorAll(".frame")[1].click();
  const large = doc.querySelector("dialog");
  result.large = [large.open, large.querySelector("svg").getBoundingClientRect().width,
    large.textContent.trim()];
  return result;
}"""


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_browser_the_whole_video_fits_and_search_sort_and_enlarging_work(
    tmp_path: Path, width: int
) -> None:
    hard = {"question": "Which " + "verylongword" * 20 + "?", "video": "v/" + "x" * 180 + ".mp4"}
    settings = BuildSettings(sampler=SamplerSettings(frames=32))
    questions = [a_question(str(i)) for i in range(5)] + [a_question("hard" * 15, **hard)]
    samples = [
        make_sample(
            question,
            encode_frames(some_candidates(40 + place % 5), 90),
            FrameScores(scores=np.arange(40 + place % 5, dtype=np.float32), windows=1, scorer="by hand"),
            settings,
        )
        for place, question in enumerate(questions)
    ]
    build = write_build(tmp_path / "build", samples, settings=settings)
    page = "".join(report_page(build, ShardSet.open(build), range(6)))
    seen = measure(page, width=width, script=MEASURE, folder=tmp_path)
    assert (seen["width"], seen["page"], seen["beyond"]) == (width, width, [])
    assert seen["least"] >= 12
    assert 0.85 * min(width, 1680) < seen["curve"] <= width
    assert seen["frame"] >= 70
    assert seen["lines"] == {390: 8, 1280: 3, 1920: 2}[width]
    assert (seen["longest"], seen["found"]) == ("sample-4", ["sample-" + "hard" * 15])
    opened, wide, title = seen["large"]
    assert opened
    assert wide > 3 * seen["frame"] or width == 390
    assert title.startswith("variant 0: ")
