"""One self-contained HTML page of a build: for some samples the time line, the question and its answer.

Written section by section, so that memory does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from strive_data.common.page import END, page_head
from strive_data.common.settings import choose
from strive_data.common.text import listed, plural
from strive_data.errors import UsageError
from strive_data.inspect.tables import sample_ids
from strive_data.inspect.timeline_svg import timeline_svg
from strive_data.schema import Sample, sample_key
from strive_data.shards.reader import ShardSet

INDEX_FROM = 6  # samples from which the page begins with an index
INDEX_ID = "samples"

STYLE = """
h2{font-size:18px;margin:6px 0}
section{border-top:1px solid #ddd;padding:12px 0 20px}
.scroll svg{display:block}
.right{font-weight:bold;color:#2b7a4b}
ul{margin:4px 0;padding-left:18px;list-style:none}
nav{border:1px solid #ddd;border-radius:6px;max-height:50vh;overflow-y:auto;padding:4px 12px;margin:12px 0}
nav ol{margin:4px 0;padding-left:28px}
nav li{margin:6px 0}
a{color:#1d5fa8}
""".strip()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which samples a page shows: the named ones; else, of those for which `where` holds, `limit` that are
    evenly spread or, with a `seed`, drawn at random."""

    sample_ids: Sequence[str] = ()
    where: str | None = None
    limit: int = 12
    seed: int | None = None


def write_report(build: Path, out: Path, selection: Selection) -> int:
    """Write the page of the selected samples; returns how many it shows.

    Raises UsageError for an unknown sample, a condition that is none or holds for no sample, and a file that
    cannot be written. The page is written beside and renamed, so that it is whole or not there.
    """
    shards = ShardSet.open(build)
    positions = select_positions(build, shards.sample_ids, selection)
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.writelines(html_page(shards, positions))
        part.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write the report to {out}: {error.strerror}") from error
    return len(positions)


def select_positions(build: Path, known: Sequence[str], selection: Selection) -> list[int]:
    """Positions of the selected samples in the index of the build, whose ids `known` are."""
    if selection.sample_ids:
        return [known.index(choose(name, known, "sample")) for name in selection.sample_ids]
    places = list(range(len(known)))
    if selection.where is not None:
        kept = set(sample_ids(build, selection.where))
        places = [place for place in places if known[place] in kept]
        if not places:
            raise UsageError(f"--where {selection.where!r} holds for none of {plural(len(known), 'sample')}")
    count = min(selection.limit, len(places))
    if selection.seed is None:
        return [places[k * len(places) // count] for k in range(count)]
    drawn = np.random.default_rng(selection.seed).choice(len(places), size=count, replace=False)
    return [places[k] for k in sorted(drawn.tolist())]


def html_page(shards: ShardSet, positions: Sequence[int]) -> Iterator[str]:
    """The page, piece by piece; nothing in it is fetched from elsewhere."""
    with_index = len(positions) >= INDEX_FROM
    yield from _head(shards.run["counts"], shown=len(positions))
    if with_index:
        yield from _index(shards, positions)
    for position in positions:
        yield _section(shards.read(position), with_index=with_index)
    yield END


def _head(counts: dict[str, int], *, shown: int) -> Iterator[str]:
    yield page_head("STRIVE build", STYLE)
    total = escape(listed(counts))
    yield f'<h1>What the policy will see</h1><p class="facts">{total}; {shown} shown here</p>\n'
    yield (
        "<p>Curve: relevance of each candidate frame to the question. Dots: the frames that each variant "
        "took. Yellow: where the annotation says that the answer can be seen.</p>\n"
    )


def _index(shards: ShardSet, positions: Iterable[int]) -> Iterator[str]:
    yield f'<nav id="{INDEX_ID}"><ol>\n'
    for position in positions:
        question = shards.read(position).meta.question
        link = f'<a href="#{_anchor(question.sample_id)}">{escape(question.question)}</a>'
        yield f'<li>{link} <span class="facts">{escape(question.sample_id)}</span></li>\n'
    yield "</ol></nav>\n"


def _section(sample: Sample, *, with_index: bool) -> str:
    question, info = sample.meta.question, sample.meta.info
    facts = [
        f"sample {question.sample_id}",
        question.video,
        f"{info.duration_seconds:.1f} s",
        f"{info.width}×{info.height}",
        question.problem_type,
        plural(len(sample.times), "candidate"),
        f"scorer {sample.meta.scorer}, {plural(sample.meta.query_windows, 'query window')}",
        f"reader {info.reader}"
        + (f", {plural(info.decode_errors, 'decode error')}" if info.decode_errors else "")
        + (f", {plural(info.discontinuities, 'clock jump')}" if info.discontinuities else ""),
    ]
    back = f' · <a href="#{INDEX_ID}">all samples</a>' if with_index else ""
    return (
        f'<section id="{_anchor(question.sample_id)}"><h2>{escape(question.question)}</h2>{_answer(sample)}'
        f'<p class="facts">{escape(" · ".join(facts))}{back}</p>'
        f'<div class="scroll" tabindex="0">{timeline_svg(sample)}</div></section>\n'
    )


def _answer(sample: Sample) -> str:
    question = sample.meta.question
    if not question.options:
        return f'<p>Answer: <span class="right">{escape(question.answer)}</span></p>'
    rows = [
        f'<li class="{"right" if option.startswith(question.answer) else ""}">{escape(option)}</li>'
        for option in question.options
    ]
    return f"<ul>{''.join(rows)}</ul>"


def _anchor(sample_id: str) -> str:
    return f"sample-{sample_key(sample_id)}"
