from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import jinja2
import polars as pl
import pytest
from markupsafe import Markup

from strive_data.common.text import (
    BASE,
    did_you_mean,
    escape_controls,
    listed,
    nearest,
    plural,
    render,
    render_pieces,
    short_repr,
    table_text,
)
from strive_data.errors import FailureKind, SampleError


def test_only_one_stands_without_an_s() -> None:
    assert [plural(count, "shard") for count in (0, 1, 2, 1200)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "1200 shards",
    ]
    assert plural(1200, "shard", ",") == "1,200 shards"


def test_the_counts_of_a_record_are_words_with_commas_between() -> None:
    counts = {"samples": 1, "videos": 1, "tried_videos": 2, "bytes": 3_874_816}
    assert listed(counts) == "1 sample, 1 video, 2 tried videos, 3.9 MB"
    assert listed(counts | {"tried_videos": 1}) == "1 sample, 1 video, 3.9 MB"
    assert listed({"samples": 3, "videos": 2}) == "3 samples, 2 videos"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "'a b'"),
        ("über", "'über'"),
        ("two\nlines", "'two\\nlines'"),
        ("\ud800", "'\\ud800'"),
        (None, "None"),
        (1.5, "1.5"),
        ([1, [2, [3]]], "[1, [2, [3]]]"),
        (SampleError(FailureKind.BAD_ROW, "the key 'a' stands twice"), "the key 'a' stands twice"),
    ],
)
def test_a_value_is_one_line(value: object, text: str) -> None:
    assert short_repr(value) == text


def test_what_is_long_is_cut_to_80_characters() -> None:
    assert short_repr("x" * 78) == f"'{'x' * 78}'"
    assert short_repr("x" * 79) == f"'{'x' * 76}..."
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert short_repr(deep) == "[[[[[[[...]]]]]]]"


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("tlr", ["trl", "verl"], "trl"),
        ("combe", ["comb", "uniform"], "comb"),
        ("clap", ["clip", "flat"], "clip"),
        ("unifrom", ["comb", "uniform"], "uniform"),
        ("Comb", ["comb", "bomb"], "comb"),
        ("pixels", ["max_pixels", "scorer"], "max_pixels"),
        ("strive-qwen2.5-7b", ["strive-qwen2.5-vl-7b", "grpo-qwen2.5-vl-7b"], "strive-qwen2.5-vl-7b"),
        ("corupted.mp4", ["corrupted.mp4"], "corrupted.mp4"),
        ("holdout.jsonl", ["heldout.jsonl"], "heldout.jsonl"),
        ("nope.mp4", ["corrupted.mp4"], ""),
        ("interrupted.mp4", ["corrupted.mp4"], ""),
        ("b.mp4", ["a.mp4"], ""),
        ("cat.mp4", ["car.mp4"], ""),
        ("train.csv", ["test.csv"], ""),
        ("questions.jsonl", ["predictions.jsonl"], ""),
        ("caption", ["options", "fps"], ""),
        ("steps", ["seed", "keep"], ""),
        ("video", ["audio"], ""),
        ("random", ["uniform", "gumbel"], ""),
    ],
)
def test_only_a_slip_of_a_name_is_suggested(name: str, known: list[str], near: str) -> None:
    """Regression: "nope.mp4, did you mean corrupted.mp4?"; the ending counted as likeness."""
    assert nearest(name, known) == ([near] if near else [])
    assert did_you_mean(name, known) == (f", did you mean {near!r}?" if near else "")


def test_a_name_that_begins_as_another_may_be_meant_for_it() -> None:
    assert did_you_mean("optimizer", ["data", "optim", "policy"]) == ", did you mean 'optim'?"
    assert (
        did_you_mean("qwen3-vl", ["blip-itm", "qwen3-vl-reranker"]) == ", did you mean 'qwen3-vl-reranker'?"
    )
    assert did_you_mean("clipping", ["cli", "vlm"]) == ""


def test_the_most_similar_names_come_first() -> None:
    known = ["qwen2.5-vl", "qwen3-vl", "strive-qwen3-vl-8b"]
    assert nearest("qwen4-vl", known, most=3) == ["qwen3-vl", "qwen2.5-vl"]
    assert nearest("qwen4-vl", known) == ["qwen3-vl"]


def test_every_row_and_column_is_shown() -> None:
    table = pl.DataFrame({f"column{i}": range(40) for i in range(12)})
    lines = [line for line in table_text(table).splitlines() if "┆" in line]
    assert len(lines) == 41
    assert all(line.count("┆") == 11 for line in lines)


def test_decimals_are_as_asked() -> None:
    assert "0.333" in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)
    assert "0.3333" not in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)


def test_control_characters_are_shown_and_not_acted_on() -> None:
    assert escape_controls("a\x1b]52;c\x07\x9b31m\u202eb\u2028\u2066\x00\ud800") == (
        "a\\x1b]52;c\\x07\\x9b31m\\u202eb\\u2028\\u2066\\x00\\ud800"
    )
    assert (
        escape_controls("naïve 日本 👍\n\tü\u200d") == "naïve 日本 👍\n\tü\u200d"
    )  # joiners stay: emoji need them


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
