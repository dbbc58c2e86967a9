from __future__ import annotations

import re
from pathlib import Path

import pytest

from strive_data.errors import SettingsError
from strive_data.report import html_page, write_report
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_question, a_sample


def test_the_page_is_self_contained_and_whole(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample(str(i)) for i in range(5)])
    assert write_report(build, tmp_path / "page" / "r.html", sample_ids=(), limit=3) == 3
    page = (tmp_path / "page" / "r.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', page) == ["sample-0", "sample-1", "sample-3"]
    assert page.count("<svg") == 3
    links = re.findall(r'(?:href|src)="([^"]{0,30})', page)
    assert links
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links)
    assert '<li class="right">B. TAXI</li>' in page


def test_named_samples_are_shown_and_unknown_ones_refused(tmp_path: Path) -> None:
    build = write_build(tmp_path / "build", [a_sample("a"), a_sample("b")])
    assert write_report(build, tmp_path / "r.html", sample_ids=["b"], limit=9) == 1
    with pytest.raises(SettingsError, match="unknown sample 'c'"):
        write_report(build, tmp_path / "r.html", sample_ids=["c"], limit=9)


def test_text_of_strangers_is_escaped() -> None:
    sample = a_sample()
    hostile = a_question(question="<script>alert(1)</script>", answer="<b>", options=(), source="")
    object.__setattr__(sample.meta, "question", hostile)
    page = html_page([sample], {"samples": 1})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page
