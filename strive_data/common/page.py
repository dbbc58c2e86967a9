"""The frame of all self-contained HTML pages: their head, and the style that they share. Pure."""

from __future__ import annotations

from html import escape

STYLE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{font:16px/1.45 system-ui,sans-serif;color:#222;background:#fff;margin:0 auto;
max-width:1110px;padding:16px;overflow-wrap:anywhere}
h1{font-size:24px;margin:8px 0}
h2{font-size:18px;margin:20px 0 6px}
.facts{color:#595959;font-size:14px}
.scroll{overflow-x:auto;max-width:100%}
""".strip()
END = "</body></html>\n"


def page_head(title: str, style: str) -> str:
    """A page up to its body; `style` is its own, and wins over what all share."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title><style>{STYLE}\n{style}</style></head><body>\n"
    )
