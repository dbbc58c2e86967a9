"""Curves on one self-contained HTML page, with what tells the runs apart. Pure: a chart in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from strive_data.common.page import END, page_head
from strive_rl.inspect.plot.chart import PALETTE, Chart
from strive_rl.inspect.plot.curves import Arm, smoothed
from strive_rl.inspect.plot.history import History
from strive_rl.inspect.plot.svg import chart_svg

STYLE = """
body{max-width:1164px}
.chart{min-width:760px}
table{border-collapse:collapse;overflow-wrap:normal}
th,td{text-align:right;padding:3px 12px 3px 0;border-bottom:1px solid #eee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.swatch{display:inline-block;width:18px;height:3px;vertical-align:middle;margin-right:6px}
""".strip()

SHOWN = (
    ("reward", "reward"),
    ("accuracy", "accuracy"),
    ("zero advantage", "zero_advantage_share"),
    ("entropy", "entropy"),
    ("tokens", "completion_tokens"),
)


def curves_page(chart: Chart, arms: Sequence[Arm], span: int) -> str:
    """The chart, a table of the runs, and one of the settings in which they differ."""
    count = sum(len(arm.runs) for arm in arms)
    title = f"Curves of {count} runs" if count > 1 else f"Curves of {arms[0].name}"
    body = [
        f'<p class="facts">{escape(caption(arms, span))}</p>',
        f'<div class="scroll"><div class="chart">{chart_svg(chart)}</div></div>',
        *_runs(arms, span),
        *_differences(arms),
    ]
    return "\n".join([f"{page_head(title, STYLE)}<h1>{escape(title)}</h1>", *body, END])


def caption(arms: Sequence[Arm], span: int) -> str:
    """How to read the curves."""
    texts = [
        "As they were written"
        if span == 1
        else f"Averaged over about {span} steps, with what was written behind"
    ]
    if any(len(arm.runs) > 1 for arm in arms):
        texts.append("several seeds: their mean at the steps that all have, with the range of all around it")
    return "; ".join(texts) + "; a gap is a step without such a number."


def _runs(arms: Sequence[Arm], span: int) -> Iterator[str]:
    heads = "".join(f"<th>{escape(name)}</th>" for name, _ in SHOWN)
    yield f"<h2>Runs</h2><p class='facts'>The last values{', averaged' if span > 1 else ''}.</p>"
    yield f'<div class="scroll"><table><tr><th></th><th>steps</th>{heads}</tr>'
    for place, arm in enumerate(arms):
        for run in arm.runs:
            cells = "".join(f"<td>{_last(run, key, span)}</td>" for _, key in SHOWN)
            swatch = f'<span class="swatch" style="background:{PALETTE[place]}"></span>'
            yield f"<tr><td>{swatch}{escape(run.name)}</td><td>{_steps(run)}</td>{cells}</tr>"
    yield "</table></div>"


def _differences(arms: Sequence[Arm]) -> Iterator[str]:
    """Settings, model and shards that are not the same in all runs."""
    runs = [run for arm in arms for run in arm.runs]
    flat = [dict(_flat(_told(run), "")) for run in runs]
    names = dict.fromkeys(name for each in flat for name in each)
    differing = [name for name in names if len({str(each.get(name)) for each in flat}) > 1]
    if len(runs) < 2 or not differing:
        return
    heads = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    yield f'<h2>In which settings they differ</h2><div class="scroll"><table><tr><th></th>{heads}</tr>'
    for name in differing:
        cells = "".join(f"<td>{escape(str(each.get(name, '–')))}</td>" for each in flat)
        yield f"<tr><td>{escape(name)}</td>{cells}</tr>"
    yield "</table></div>"


def _told(run: History) -> dict[str, Any]:
    kept = {name: run.settings[name] for name in ("model", "shards") if name in run.settings}
    return kept | dict(run.settings.get("settings", {}))


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _steps(run: History) -> str:
    planned = run.settings.get("settings", {}).get("steps")
    done = int(run.steps[-1])
    return f"{done} of {planned}" if planned else str(done)


def _last(run: History, key: str, span: int) -> str:
    values = smoothed(run.values[key], span) if key in run.values else np.empty(0)
    known = values[np.isfinite(values)]
    return f"{known[-1]:.4g}" if len(known) else "–"
