from __future__ import annotations

from html.parser import HTMLParser

from strive_data.common.page import END, STYLE, page_head


class Tags(HTMLParser):
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
        self.text[self.open[-1] if self.open else ""] = data


def test_head_and_end_are_a_page_whose_own_style_comes_last() -> None:
    tags = Tags()
    tags.feed(page_head("A <b> & c", "h2{margin:0}") + "<h1>x</h1>" + END)
    assert tags.open == []
    assert tags.text["title"] == "A <b> & c"
    assert tags.text["style"] == f"{STYLE}\nh2{{margin:0}}"
    assert "//" not in STYLE  # nothing is fetched
