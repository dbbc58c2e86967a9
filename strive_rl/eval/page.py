"""One self-contained HTML page of a scored benchmark, or of two systems on it. Pure: results in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, TypeVar

from strive_data.common.page import END, page_head
from strive_data.common.text import escape_controls, plural
from strive_rl.benchmarks.item import Scored
from strive_rl.eval.table import interval, mean

T = TypeVar("T")

EXAMPLES = 8  # of each kind
MOST_CHARACTERS = 1500  # of an output that are shown

STYLE = """
section{border-top:1px solid #ddd;padding:4px 0 12px}
article{border:1px solid #ddd;border-radius:6px;padding:8px 12px;margin:10px 0}
article p{margin:4px 0}
.total{font-size:40px;font-weight:600;margin:4px 0}
.right{font-weight:bold;color:#2b7a4b}
.wrong{font-weight:bold;color:#b3313f}
.partly{font-weight:bold;color:#8a5a00}
.note{background:#fff7e0;border-left:4px solid #b7791f;padding:6px 10px;margin:8px 0}
ul{margin:4px 0;padding-left:18px;list-style:none}
pre{white-space:pre-wrap;background:#f6f6f6;border-radius:4px;padding:8px;margin:4px 0;
font:13px/1.4 ui-monospace,monospace;max-height:16em;overflow-y:auto}
table{border-collapse:collapse;width:100%;overflow-wrap:normal}
th,td{text-align:right;padding:3px 8px;border-bottom:1px solid #eee;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:9em}
td.bar{width:34%;min-width:110px;padding:0 8px}
td.bar svg{display:block;width:100%;height:14px}
details{margin:6px 0}
summary{cursor:pointer;font-weight:600}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:10px}
@media(max-width:640px){.pair{grid-template-columns:1fr}.bar{display:none}
table{font-size:14px}th,td{padding:3px 5px}td.bar{display:none}}
""".strip()


def score_page(results: dict[str, Any], rows: Sequence[Scored]) -> str:
    """Totals, categories and examples of one scored benchmark."""
    own, *others = results["conventions"]
    total = results["overall"][own]
    counts = results["counts"]
    facts = [
        f"{plural(counts['questions'], 'question')} on {plural(counts['videos'], 'video')}",
        f"{counts['answered']} answered",
    ]
    facts += [
        f"{counts[name]} {name.replace('_', ' ')}" for name in ("missing", "unusable_rows") if counts[name]
    ]
    facts += [f"{counts['empty']} empty, {counts['unreadable']} without a readable answer"]
    facts += [f"{name}: {mean(results['overall'][name], 2)}" for name in others if results["overall"][name]]
    body = [
        f'<p class="total">{mean(total, 2)} %</p>',
        f'<p class="facts">95 % interval over videos {interval(total)} · {escape(" · ".join(facts))}</p>',
        *_judge_facts(results),
        *(f'<p class="note">{escape(note)}</p>' for note in results["notes"]),
        *_categories(results["by"], list(results["conventions"])),
        *_score_examples(rows, own),
    ]
    return _page(results["title"], body)


def compare_page(results: dict[str, Any], pairs: Sequence[tuple[Scored, Scored]]) -> str:
    """The difference B − A, by category, and questions that B won and lost."""
    name, total = results["convention"], results["overall"]
    sign = results["sign_test"]
    body = [
        f'<p class="total">{100 * total["difference"]["mean"]:+.2f} points</p>',
        f'<p class="facts">95 % interval over videos {interval(total["difference"], "+")} · '
        f"A {mean(total['a'], 2)}, B {mean(total['b'], 2)} · "
        f"{plural(total['difference']['questions'], 'question')} on "
        f"{plural(total['difference']['videos'], 'video')}</p>",
        f"<p>B is better on {plural(sign['won'], 'question')}, worse on {sign['lost']}, as good on "
        f"{sign['tied']}: sign test p = {sign['p']:.3g} (of questions as if independent; over videos "
        f"{results['sign_test_videos']['p']:.3g}).</p>",
        f'<p class="facts">A: {escape(results["a"])}<br>B: {escape(results["b"])}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in results["notes"]),
        *_compared_categories(results["by"]),
        *_compared_examples(pairs, name),
    ]
    return _page(f"{results['title']}: B − A", body)


def _page(title: str, body: Sequence[str]) -> str:
    return escape_controls("\n".join([f"{page_head(title, STYLE)}<h1>{escape(title)}</h1>", *body, END]))


def _judge_facts(results: dict[str, Any]) -> Iterator[str]:
    judge = results.get("judge")
    if judge:
        asked = plural(judge["asked"], "answer")
        yield (
            f'<p class="note">Rules cannot tell {asked} ({100 * judge["share"]:.1f} %): '
            f"{judge['judged']} judged, {judge['awaiting']} await a judge and count 0 until then. Without a "
            f"judge: {mean(judge['rules_only'], 2)} with them counted 0, "
            f"{mean(judge['decided_by_rules'], 2)} over the others.</p>"
        )


def _categories(by: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    for number, (tag, values) in enumerate(by.items()):
        head = "".join(f"<th>{escape(name)}</th>" for name in ("95 % interval", *names[1:], "questions"))
        lines = [
            f'<tr><td>{escape(value)}</td><td class="bar">{_bar(part[names[0]])}</td>'
            f"<td>{mean(part[names[0]], 1)}</td><td>{interval(part[names[0]])}</td>"
            + "".join(f"<td>{mean(part[name], 1)}</td>" for name in names[1:])
            + f"<td>{part[names[0]]['questions']}</td></tr>"
            for value, part in values.items()
            if part[names[0]]
        ]
        first = f'<tr><th></th><th class="bar"></th><th>{escape(names[0])}</th>{head}</tr>'
        yield _folded(f"By {tag}", _table([first, *lines]), opened=number == 0)


def _compared_categories(by: dict[str, Any]) -> Iterator[str]:
    first = (
        '<tr><th></th><th class="bar"></th><th>B − A</th><th>95 % interval</th><th>A</th><th>B</th>'
        "<th>won</th><th>lost</th><th>questions</th></tr>"
    )
    for number, (tag, values) in enumerate(by.items()):
        widest = max(_reach(part["difference"]) for part in values.values())
        lines = [
            f'<tr><td>{escape(value)}</td><td class="bar">{_bar(part["difference"], widest)}</td>'
            f"<td>{100 * part['difference']['mean']:+.1f}</td><td>{interval(part['difference'], '+')}</td>"
            f"<td>{mean(part['a'])}</td><td>{mean(part['b'])}</td><td>{part['won']}</td><td>{part['lost']}</td>"
            f"<td>{part['difference']['questions']}</td></tr>"
            for value, part in values.items()
        ]
        yield _folded(f"By {tag}", _table([first, *lines]), opened=number == 0)


def _table(lines: Sequence[str]) -> str:
    return f'<div class="scroll" tabindex="0"><table>{"".join(lines)}</table></div>'


def _folded(title: str, content: str, *, opened: bool) -> str:
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{content}</details>"


def _reach(estimate: dict[str, Any]) -> float:
    """How far from 0 an estimate and its interval go."""
    return max(abs(float(estimate[name] or 0)) for name in ("mean", "low", "high"))


def _bar(estimate: dict[str, Any], widest: float | None = None) -> str:
    """The mean as a bar and its interval as a line: of 100 %, or on both sides of 0 up to `widest`."""
    signed = widest is not None

    def place(value: float) -> float:
        return 50 + 50 * value / (widest or 1) if signed else 100 * value

    zero, end = place(0), place(estimate["mean"])
    colour = "#b3313f" if estimate["mean"] < 0 else "#3f9c6d" if signed else "#2e6fbb"
    bar = f'<rect x="{min(zero, end):.2f}" y="3" width="{abs(end - zero):.2f}" height="8" fill="{colour}"/>'
    whisker = ""
    if estimate["low"] is not None:
        low, high = place(estimate["low"]), place(estimate["high"])
        whisker = f'<rect x="{low:.2f}" y="6.2" width="{high - low:.2f}" height="1.6" fill="#222"/>'
    axis = f'<rect x="{zero:.2f}" y="0" width=".3" height="14" fill="#999"/>' if signed else ""
    return (
        f'<svg viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">{bar}{whisker}{axis}</svg>'
    )


def _score_examples(rows: Sequence[Scored], own: str) -> Iterator[str]:
    answered = [row for row in rows if row.status in ("scored", "judged")]
    kinds = {
        "Wrong": [row for row in answered if not row.values.get(own)],
        "Right": [row for row in answered if row.values.get(own)],
        "Awaiting a judge": [row for row in rows if row.status == "awaiting judge"],
        "Without an answer": [row for row in rows if row.status in ("missing", "unusable")],
    }
    for kind, found in kinds.items():
        if found:
            shown = "".join(_example(row, own) for row in spread(found, EXAMPLES))
            yield _section(kind, len(found), shown)


def _compared_examples(pairs: Sequence[tuple[Scored, Scored]], name: str) -> Iterator[str]:
    def gain(pair: tuple[Scored, Scored]) -> float:
        return (pair[1].values.get(name) or 0.0) - (pair[0].values.get(name) or 0.0)

    for kind, found in (
        ("Won by B", [pair for pair in pairs if gain(pair) > 0]),
        ("Lost by B", [pair for pair in pairs if gain(pair) < 0]),
    ):
        shown = "".join(_compared(a, b, name) for a, b in spread(found, EXAMPLES))
        yield _section(kind, len(found), shown)


def _section(kind: str, count: int, shown: str) -> str:
    return f"<section><h2>{kind}: {count}, {min(count, EXAMPLES)} shown</h2>{shown}</section>"


def spread(found: Sequence[T], count: int) -> list[T]:
    """`count` of them, evenly spread, the first among them."""
    count = min(count, len(found))
    return [found[k * len(found) // count] for k in range(count)]


def _example(row: Scored, name: str) -> str:
    return f"<article>{_question(row)}{_output(row, name)}</article>"


def _compared(a: Scored, b: Scored, name: str) -> str:
    outputs = f"<div><b>A</b>{_output(a, name)}</div><div><b>B</b>{_output(b, name)}</div>"
    return f'<article>{_question(b)}<div class="pair">{outputs}</div></article>'


def _question(row: Scored) -> str:
    facts = " · ".join([row.sample_id, row.video, *row.tags.values()])
    right = row.reference + "."
    options = "".join(
        f'<li class="{"right" if option.startswith(right) else ""}">{escape(option)}</li>'
        for option in row.options
    )
    truth = (
        f"<ul>{options}</ul>"
        if options
        else f'<p>Truth: <span class="right">{escape(row.reference)}</span></p>'
    )
    asked = escape(row.question).replace("\n", "<br>")
    return f'<p><b>{asked}</b></p>{truth}<p class="facts">{escape(facts)}</p>'


def _output(row: Scored, name: str) -> str:
    value = row.values.get(name)
    if row.output is None:
        return f'<p class="wrong">{escape(row.status)}</p>'
    read = "no answer can be read" if row.extracted is None else f"read as: {row.extracted[:200]}"
    said, style = _said(value)
    text = row.output
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + f" … ({len(row.output) - MOST_CHARACTERS} more characters)"
    facts = escape(" · ".join([read, *_frames(row)]))
    return f'<p><span class="{style}">{said}</span> · {facts}</p><pre>{escape(text) or "(empty)"}</pre>'


def _frames(row: Scored) -> Iterator[str]:
    """The frames that the answer was made from, as far as they are told."""
    times = row.frames.get("times")
    if isinstance(times, list) and times:
        sampler = str(row.frames.get("sampler", ""))
        yield f"{len(times)} {sampler} frames at {', '.join(f'{time:g}' for time in times)} s".replace(
            "  ", " "
        )


def _said(value: float | None) -> tuple[str, str]:
    """What is said of a value, and the style to say it in."""
    if value is None:
        return "awaits a judge", "partly"
    if value in (0, 1):
        return ("right", "right") if value else ("wrong", "wrong")
    return f"{value:.2f}", "partly"
