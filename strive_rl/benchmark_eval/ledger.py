"""What an evaluation has written so far, and whether another call may go on with it.

Answers are lines of predictions.jsonl, questions that cannot be answered lines of failures.jsonl; of several
processes each writes files of its own (predictions.rank001.jsonl). Every batch is on the disk before the next
begins; a line that a crash cut short is cut off. When all is there, one file in the order of the plan takes
the place of them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.errors import UsageError
from strive_data.settings import differences
from strive_rl import distributed, journal
from strive_rl.benchmark_eval.plan import Key

PREDICTIONS, FAILURES = "predictions", "failures"
SETTINGS_FILE = "settings.json"
EVERY = ""
"""The frame sampler of a failure that concerns all of them."""

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Lines of answers and failures by (sample id, sampler), from all files of the folder."""

    answers: Mapping[Key, Line]
    failures: Mapping[Key, Line]

    def settled(self, samplers: Iterable[str]) -> dict[Key, bool]:
        """Keys that need no answer any more; True for those that have one."""
        lost = [
            (sample_id, each)
            for sample_id, sampler in self.failures
            for each in (samplers if sampler == EVERY else (sampler,))
        ]
        return dict.fromkeys(lost, False) | dict.fromkeys(self.answers, True)


def open_folder(out: Path, record: Line) -> None:
    """Make the folder, or go on in it; one that holds no answer yet (no such model, no memory) begins anew.

    Raises UsageError where it was begun otherwise, or is in use.
    """
    file = out / SETTINGS_FILE
    if file.is_file() and not _read(out, PREDICTIONS):
        for path in (*_files(out, PREDICTIONS), *_files(out, FAILURES)):
            path.unlink()
    elif file.is_file():
        changed = differences(journal.read_json(file), record)
        if changed:
            raise UsageError(
                f"cannot go on in {out}, it was begun otherwise ({'; '.join(changed)}): restore that, or "
                "give another --out"
            )
        return
    if out.is_dir() and any(out.glob("*.jsonl")):
        raise UsageError(f"{out} holds the files of something else: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    journal.write_json(file, record)


def read_ledger(out: Path) -> Ledger:
    """All that is written so far."""
    return Ledger(answers=_read(out, PREDICTIONS), failures=_read(out, FAILURES))


def write(out: Path, name: str, lines: Iterable[Line]) -> None:
    """Append lines to this process's file, on the disk when this returns."""
    several = distributed.world_size() > 1
    path = out / (f"{name}.rank{distributed.rank():03d}.jsonl" if several else f"{name}.jsonl")
    body = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    if not body:
        return
    with path.open("ab") as file:
        file.write(body.encode())
        file.flush()
        os.fsync(file.fileno())


def mend(out: Path) -> None:
    """Cut off lines that a crash cut short, so that others can be appended."""
    for path in _files(out, PREDICTIONS) + _files(out, FAILURES):
        body = path.read_bytes()
        whole = body.rfind(b"\n") + 1
        if whole < len(body):
            with path.open("r+b") as file:
                file.truncate(whole)


def merge(out: Path, name: str, order: Mapping[Key, int]) -> list[Line]:
    """One file of all lines in this order (others behind them, by key), by rename; the lines."""
    lines = _read(out, name)
    ranked = [lines[key] for key in sorted(lines, key=lambda key: (order.get(key, len(order)), key))]
    temporary = out / f"{name}.jsonl.tmp"
    temporary.write_bytes(b"")
    journal.append(temporary, ranked)
    files = _files(out, name)
    temporary.replace(out / f"{name}.jsonl")
    for path in files:
        if path.name != f"{name}.jsonl":
            path.unlink()
    return ranked


def _read(out: Path, name: str) -> dict[Key, Line]:
    lines = [line for path in _files(out, name) for line in journal.read(path)]
    return {(line["sample_id"], line["sampler"]): line for line in reversed(lines)}


def _files(out: Path, name: str) -> list[Path]:
    return [*out.glob(f"{name}.jsonl"), *sorted(out.glob(f"{name}.rank*.jsonl"))]
