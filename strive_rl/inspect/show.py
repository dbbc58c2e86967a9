"""Sampled completions of a run as text to read, with prompt, frames, reward and advantage.

A long run has hundreds of megabytes of them: a step is found by bisection, a question line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from strive_data.common.files import near_path
from strive_data.common.settings import choose
from strive_data.common.text import short_repr
from strive_data.errors import DamagedError, UsageError
from strive_rl.common import jsonl
from strive_rl.common.run_settings import ROLLOUTS_FILE

# Fields of a row that are not parts of the reward.
FACTS = frozenset(
    {
        *("step", "sample_id", "variant", "place", "times", "view", "question", "prompt", "answer"),
        *("completion", "tokens", "finished", "reward", "advantage", "informative"),
    }
)

# Of a completion that is not shown whole: its beginning, and its end, where the answer is.
HEAD_CHARACTERS, TAIL_CHARACTERS = 500, 300

Row = dict[str, Any]
_which = itemgetter("step", "sample_id")


def show(run: Path, *, step: int | None = None, question: str | None = None, full: bool = False) -> str:
    """Completions of one step, the last by default, or those of one question at every step that kept some.

    Long completions lose their middle unless `full`, which is said in its place.

    Raises UsageError for a run without completions, and for a step or question without kept ones;
    DamagedError for a row that training did not write.
    """
    if not run.exists():
        raise UsageError(f"no such folder: {run}{near_path(run)}")
    path = run / ROLLOUTS_FILE
    steps = jsonl.first_and_last_step(path)
    if steps is None:
        raise UsageError(
            f"{run}: no completions in {ROLLOUTS_FILE}; expected the folder of a run of strive-rl train"
        )
    try:
        rows = _of_step(path, step, steps) if step is not None or question is None else []
        if question is not None:
            rows = _of_question(path, rows if step is not None else None, question)
        return "\n\n".join(_question(list(few), full=full) for _, few in groupby(rows, _which))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"{path}: a row is not as training writes it: {short_repr(error)}") from error


def _of_step(path: Path, step: int | None, steps: tuple[int, int]) -> list[Row]:
    kept = jsonl.of_step(path, step)
    if not kept:
        raise UsageError(
            f"step {step}: no completions kept; there are some from step {steps[0]} to {steps[1]}"
        )
    return kept


def _of_question(path: Path, of_step: list[Row] | None, question: str) -> list[Row]:
    """The rows of one question, of these rows or of the whole file, which is read line by line."""
    holding = json.dumps(question, ensure_ascii=False).encode()
    rows = jsonl.scan(path, ["sample_id"], holding=holding) if of_step is None else of_step
    kept = [row for row in rows if row["sample_id"] == question]
    if not kept:
        source = jsonl.scan(path, ["sample_id"]) if of_step is None else of_step
        choose(question, {row["sample_id"] for row in source}, "question")
    return kept


def _question(rows: Sequence[Row], *, full: bool) -> str:
    """Prompt and truth once, then the completions, the best first."""
    first = rows[0]
    head = f"step {first['step']} · {first['sample_id']} · truth: {first['answer']}"
    if not first.get("informative", True):
        cut = "" if all(row["finished"] for row in rows) else " or were cut"
        head += f" · left out of the update: completions that are compared have equal accuracy{cut}"
    ranked = sorted(rows, key=lambda row: -row["reward"])
    return "\n".join(
        [
            head,
            "=" * len(head),
            str(first["prompt"]),
            *(line for row in ranked for line in _completion(row, full=full)),
        ]
    )


def _completion(row: Row, *, full: bool) -> Iterator[str]:
    parts = ", ".join(f"{name} {value:g}" for name, value in row.items() if name not in FACTS)
    worth = f"reward {row['reward']:g} ({parts}) · advantage {row['advantage']:+g}"
    cut = "" if row["finished"] else " · cut at the limit"
    times = ", ".join(f"{time:g}" for time in row["times"])
    yield ""
    yield f"--- variant {row['variant']}, {row['view']} · {worth}{cut}"
    yield f"    frames at {times} s"
    yield (row["completion"] if full else shortened(row["completion"])) or "(empty)"


def shortened(text: str) -> str:
    """The text without its middle, where that is worth a line that says so."""
    left_out = len(text) - HEAD_CHARACTERS - TAIL_CHARACTERS
    if left_out <= TAIL_CHARACTERS:
        return text
    return (
        f"{text[:HEAD_CHARACTERS]}\n[… {left_out} characters, --full shows them …]\n{text[-TAIL_CHARACTERS:]}"
    )
