"""Text for people: counts in words, values of strangers' files, tables, HTML pages.

Pages are self-contained Jinja2 templates with autoescape, in the `templates` folder beside the code of a
page. A template extends `base.html`, which has the head and the shared style, and fills the blocks `content`
and, where needed, `style` and `heading`:

    {% extends "base.html" %}
    {% block content %}<p class="facts">{{ facts }}</p>{% endblock %}

`title` is a value that every page needs. Values are escaped, and their control characters are shown as
escape sequences; a value that is already HTML, such as an SVG picture, is passed as `markupsafe.Markup`. A
name that is not passed is an error. polars and jinja2 are imported where they are needed.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strive_data.errors import SampleError

if TYPE_CHECKING:
    import jinja2
    import polars as pl


def plural(count: int, noun: str, form: str = "") -> str:
    """ "1 sample", "2 samples": the count in that format ("," for thousands) and its noun."""
    return f"{count:{form}} {noun}{'' if count == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """The counts of `run.json`: "1 sample, 2 videos, 3.9 MB"; tried videos only if some gave no sample."""
    same = counts.get("tried_videos") == counts.get("videos")
    return ", ".join(
        f"{count / 1e6:.1f} MB"
        if name == "bytes"
        else plural(count, name.removesuffix("s").replace("_", " "))
        for name, count in counts.items()
        if not (same and name == "tried_videos")
    )


def counted_samples(counts: Mapping[str, int]) -> str:
    """What a build holds by the counts of `run.json`, on one line."""
    samples, videos, shards, failures = (
        plural(counts[f"{noun}s"], noun) for noun in ("sample", "video", "shard", "failure")
    )
    tried = f" ({counts['tried_videos']} tried)" if counts["tried_videos"] != counts["videos"] else ""
    return f"{samples} of {videos}{tried} in {shards}, {failures}"


def some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first `most` of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


# The share of letters in common from which on one name may be a slip of another: "clap" and "clip".
ALIKE = 0.75


def nearest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that `name` may be a slip of: in other case, else the most similar ones, if any is.

    An ending that both have, as .mp4, makes them no more similar; letters in another order ("tlr", "trl") do.
    """
    names = [*known]
    if same := [each for each in names if each.casefold() == name.casefold()]:
        return same[:most]
    ending = Path(name).suffix
    stem = name.removesuffix(ending)
    of_stem, of_name = difflib.SequenceMatcher(b=stem), difflib.SequenceMatcher(b=name)

    def likeness(other: str) -> float:
        cut = other.removesuffix(ending)
        matcher, wanted = (of_name, name) if cut == other else (of_stem, stem)
        if sorted(cut) == sorted(wanted):
            return 1.0
        matcher.set_seq1(cut)
        return min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= ALIKE and matcher.ratio()

    found = sorted(((likeness(each), each) for each in names), reverse=True)
    return [each for ratio, each in found[:most] if ratio >= ALIKE]


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """The end of a message on a name that is not known: ", did you mean 'comb'?", or "".

    A name that begins as another one, as "optimizer" and "optim", may be meant for it too.
    """
    names = [*known]
    longer = (
        each for each in names if min(len(each), len(name)) > 3 and each[: len(name)] == name[: len(each)]
    )
    near = nearest(name, names, most) or [*longer][:most]
    return f", did you mean {' or '.join(map(repr, near))}?" if near else ""


MOST_CHARACTERS = 80


def short_repr(value: object) -> str:
    """The value as a message shows it: one line of at most 80 characters that UTF-8 can encode."""
    if isinstance(value, SampleError):
        return value.message
    if isinstance(value, list | dict):
        text = reprlib.repr(value)  # bounded in depth too
    else:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


# Control characters, line and paragraph separators, marks that turn the direction of writing, and lone
# surrogates: a terminal or a browser acts on them, or fails, instead of showing them. Tab and newline stay.
CONTROLS = {
    code: ascii(chr(code))[1:-1]
    for codes in (
        range(0x20),
        range(0x7F, 0xA0),
        (0x061C, 0x200E, 0x200F),
        range(0x2028, 0x202F),
        range(0x2066, 0x206A),
        range(0xD800, 0xE000),
    )
    for code in codes
    if chr(code) not in "\t\n"
}


def escape_controls(text: str) -> str:
    """The text with each control character as its escape sequence, for terminals and pages."""
    return text.translate(CONTROLS)


WIDTH_CHARACTERS = 180


def table_text(
    table: pl.DataFrame,
    *,
    decimals: int | None = None,
    width: int | None = WIDTH_CHARACTERS,
    letters: int = 60,
) -> str:
    """The table as text: cells wrapped to `width`, texts cut to `letters`, floats with `decimals` places."""
    import polars as pl

    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=letters,
        fmt_table_cell_list_len=8,
        float_precision=decimals,
        tbl_width_chars=width or 10_000,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(table)


def is_finite_number(value: object) -> bool:
    """Whether it is a number below 1e15: JSON in Python also reads NaN, Infinity and huge integers."""
    return type(value) in (int, float) and -1e15 < value < 1e15  # type: ignore[operator]  # a number


BASE = Path(__file__).parent / "templates"


def render(template: Path, **values: object) -> str:
    """The page of a template file."""
    return _template(template).render(values)


def render_pieces(template: Path, **values: object) -> Iterator[str]:
    """The same page piece by piece, for pages that are larger than the memory they should take."""
    return _template(template).generate(values)


def _template(path: Path) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, BASE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: escape_controls(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(path.name)
