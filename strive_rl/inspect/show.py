"""Sampled answers of a run as text to read: what was asked, which frames were seen, what it was worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_rl.common import jsonl

ROLLOUTS_FILE = "rollouts.jsonl"
# Fields of a row that are not parts of the reward.
FACTS = frozenset(
    {
        *("step", "sample_id", "variant", "place", "times", "view", "question", "prompt", "answer"),
        *("completion", "tokens", "finished", "reward", "advantage"),
    }
)

Row = dict[str, Any]


def show(run: Path, *, step: int | None = None, question: str | None = None) -> str:
    """Answers of one step, the last by default, or those of one question at every step that kept some.

    Raises UsageError for a run without answers, and for a step or question that none were kept of.
    """
    rows = jsonl.read(run / ROLLOUTS_FILE)
    if not rows:
        raise UsageError(
            f"{run}: no answers in {ROLLOUTS_FILE}; expected the folder of a run of strive-rl train"
        )
    if question is not None:
        choose(question, {row["sample_id"] for row in rows}, "question")
        rows = [row for row in rows if row["sample_id"] == question]
    if step is not None or question is None:
        rows = _of_step(rows, rows[-1]["step"] if step is None else step)
    return "\n\n".join(_question(list(few)) for _, few in groupby(rows, _which))


def _of_step(rows: Sequence[Row], step: int) -> list[Row]:
    kept = [row for row in rows if row["step"] == step]
    if not kept:
        first, last = rows[0]["step"], rows[-1]["step"]
        raise UsageError(f"step {step}: no answers kept; there are some from step {first} to {last}")
    return kept


def _which(row: Row) -> tuple[int, str]:
    return row["step"], row["sample_id"]


def _question(rows: Sequence[Row]) -> str:
    """Prompt and truth once, then its answers, the best first."""
    first = rows[0]
    head = f"step {first['step']} · {first['sample_id']} · truth: {first['answer']}"
    ranked = sorted(rows, key=lambda row: -row["reward"])
    return "\n".join(
        [head, "=" * len(head), str(first["prompt"]), *(line for row in ranked for line in _answer(row))]
    )


def _answer(row: Row) -> Iterator[str]:
    parts = ", ".join(f"{name} {value:g}" for name, value in row.items() if name not in FACTS)
    worth = f"reward {row['reward']:g} ({parts}) · advantage {row['advantage']:+g}"
    cut = "" if row["finished"] else " · cut at the limit"
    times = ", ".join(f"{time:g}" for time in row["times"])
    yield ""
    yield f"--- variant {row['variant']}, {row['view']} · {worth}{cut}"
    yield f"    frames at {times} s"
    yield row["completion"] or "(empty)"
