"""Self-contained HTML pages of both packages: Jinja2 templates with autoescape.

A page is a template in the `templates` folder beside its code. It extends `base.html`, which has the head and
the shared style, and fills the blocks `content` and, where needed, `style` and `heading`:

    {% extends "base.html" %}
    {% block content %}<p class="facts">{{ facts }}</p>{% endblock %}

`title` is a value that every page needs. Values are escaped, and their control characters are shown as
escape sequences; a value that is already HTML, such as an SVG picture, is passed as `markupsafe.Markup`. A
name that is not passed is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from strive_data.common.text import escape_controls

BASE = Path(__file__).parent / "templates"


def render(template: Path, **values: object) -> str:
    """The page of a template file."""
    return _template(template).render(values)


def render_pieces(template: Path, **values: object) -> Iterator[str]:
    """The same page piece by piece, for pages that are larger than the memory they should take."""
    return _template(template).generate(values)


def _template(path: Path) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, BASE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(path.name)


def _finalize(value: Any) -> Any:
    return escape_controls(value) if isinstance(value, str) else value
