from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from strive_data.common.page import BASE, render, render_pieces

TEMPLATE = """{% extends "base.html" %}
{% block style %}td { color: red; }{% endblock %}
{% block content %}<p>{{ text }}</p>{{ picture }}{% endblock %}
"""


class Tags(HTMLParser):
    """Checks that each tag is closed, and keeps the text of each."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text[self.open[-1]] = data.strip()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text(TEMPLATE, encoding="utf-8")
    return tmp_path / "page.html"


def test_a_page_has_the_shared_head_and_shows_its_values_as_text(template: Path) -> None:
    values = {"title": "A <b> & c", "text": "1 < 2\x1b[2J\u202e", "picture": Markup("<svg></svg>")}
    page = render(template, **values)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.text["title"] == tags.text["h1"] == "A <b> & c"
    assert tags.text["p"] == "1 < 2\\x1b[2J\\u202e"
    assert tags.text["style"].endswith("td { color: red; }")  # the page's own style wins
    assert "<svg></svg>" in page
    assert "".join(render_pieces(template, **values)) == page


def test_a_missing_value_is_an_error(template: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="text"):
        render(template, title="x", picture="")


def test_the_shared_style_fetches_nothing() -> None:
    assert "//" not in "".join(path.read_text() for path in BASE.iterdir())
