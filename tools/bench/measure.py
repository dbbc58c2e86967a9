"""What a command costs: wall clock, CPU seconds and peak memory of its whole process tree."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS_BETWEEN_LOOKS = 0.25
LEAST_RISE = 0.01


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the text of a module."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall-clock and CPU seconds of a command; `peak_bytes` of memory that all its processes held at once."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int = 0


class CommandFailedError(Exception):
    """A measured command ended with another code than 0; the message has the end of what it wrote."""


def run_measured(
    command: Sequence[str], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Cost:
    """Run a command to its end; its output goes to `log`.

    CPU seconds are those of the process and of all descendants that were waited for. Memory is looked at four
    times a second: what is shorter is not seen.
    """
    with log.open("w", encoding="utf-8") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, env={**os.environ, **(env or {})}
        )
        peak = _PeakMemory(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        peak.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}\nended with {process.returncode}:\n{_tail(log)}")
    return Cost(wall_seconds=wall, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=peak.highest_bytes)


def tree_bytes(pid: int, *, shared_once: bool = True) -> int:
    """Resident bytes of a process and its descendants; 0 for one that is gone.

    With `shared_once` off, which costs far less, pages count for each process that shares them.
    """
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_resident_bytes(process, shared_once=shared_once) for process in family)


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Medians of repeated costs; the highest of their peaks."""
    return Cost(
        wall_seconds=statistics.median(cost.wall_seconds for cost in costs),
        cpu_seconds=statistics.median(cost.cpu_seconds for cost in costs),
        peak_bytes=max(cost.peak_bytes for cost in costs),
    )


def ratio_line(name: str, value: float, *, target: float, at_most: bool) -> str:
    """One line: a ratio, its target, and whether it is met."""
    met = value <= target if at_most else value >= target
    sign = "≤" if at_most else "≥"
    return f"{name:<58} {value:6.2f}   target {sign} {target:g}   {'met' if met else 'MISSED'}"


def cost_line(name: str, cost: Cost) -> str:
    """One line: seconds and memory of a measured thing."""
    memory = f"   peak {cost.peak_bytes / 2**20:6.0f} MiB" if cost.peak_bytes else ""
    return f"{name:<58} {cost.wall_seconds:8.2f} s wall {cost.cpu_seconds:8.2f} s CPU{memory}"


class _PeakMemory:
    """Watches a process tree from a thread until `stop`."""

    def __init__(self, pid: int) -> None:
        self.highest_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        highest = 0.0
        while not self._ended.is_set():
            summed = tree_bytes(self._pid, shared_once=False)
            # The exact look takes tens of milliseconds from what is measured, so only near a new height.
            if summed > highest * (1 + LEAST_RISE):
                highest = summed
                self.highest_bytes = max(self.highest_bytes, tree_bytes(self._pid))
            self._ended.wait(SECONDS_BETWEEN_LOOKS)


def _resident_bytes(process: psutil.Process, *, shared_once: bool) -> int:
    """A page that n processes share counts 1/n for each of them (PSS), or as a whole."""
    try:
        return int(process.memory_full_info().pss if shared_once else process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
