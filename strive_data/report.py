"""One self-contained HTML page of a build: for some samples the time line, the question and its answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from strive_data.errors import UsageError
from strive_data.picture import timeline_svg
from strive_data.schema import Sample
from strive_data.settings import choose
from strive_data.shards import ShardSet

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1110px;padding:16px}
section{border-top:1px solid #ddd;padding:12px 0 20px}
h2{font-size:17px;margin:6px 0}
.scroll{overflow-x:auto}
.facts{color:#666;font-size:13px}
.right{font-weight:bold;color:#2b7a4b}
ul{margin:4px 0;padding-left:18px;list-style:none}
""".strip()


def write_report(build: Path, out: Path, *, sample_ids: Sequence[str], limit: int) -> int:
    """Write the page for the named samples, or for `limit` evenly spread ones; returns how many it shows."""
    shards = ShardSet.open(build)
    positions = _positions(shards, sample_ids, limit)
    page = html_page((shards.read(i) for i in positions), shards.run["counts"])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the report to {out}: {error.strerror}") from error
    return len(positions)


def html_page(samples: Iterable[Sample], counts: dict[str, int]) -> str:
    """The page as text; nothing in it is fetched from elsewhere."""
    total = ", ".join(f"{count} {name}" for name, count in counts.items())
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>STRIVE build</title><style>{STYLE}</style></head><body>",
            f'<h1>What the policy will see</h1><p class="facts">{escape(total)}</p>',
            "<p>Curve: relevance of each candidate frame to the question. Dots: the frames that each variant "
            "took. Yellow: where the annotation says that the answer can be seen.</p>",
            *map(_section, samples),
            "</body></html>\n",
        ]
    )


def _section(sample: Sample) -> str:
    question, info = sample.meta.question, sample.meta.info
    facts = [
        f"sample {question.sample_id}",
        question.video,
        f"{info.duration_seconds:.1f} s",
        f"{info.width}×{info.height}",
        question.problem_type,
        f"{len(sample.times)} candidates",
        f"scorer {sample.meta.scorer}, {sample.meta.query_windows} query window(s)",
        f"reader {info.reader}" + (f", {info.decode_errors} decode error(s)" if info.decode_errors else ""),
    ]
    return (
        f'<section id="sample-{escape(sample.key)}"><h2>{escape(question.question)}</h2>{_answer(sample)}'
        f'<p class="facts">{escape(" · ".join(facts))}</p>'
        f'<div class="scroll">{timeline_svg(sample)}</div></section>'
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


def _positions(shards: ShardSet, sample_ids: Sequence[str], limit: int) -> list[int]:
    if sample_ids:
        return [shards.sample_ids.index(choose(name, shards.sample_ids, "sample")) for name in sample_ids]
    count = min(limit, len(shards))
    return [k * len(shards) // count for k in range(count)]
