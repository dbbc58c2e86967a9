from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.bench.measure import (
    CommandFailedError,
    Cost,
    cost_line,
    median_cost,
    ratio_line,
    run_measured,
    tree_bytes,
)

MIB = 2**20
HOLD_IN_CHILD = f"""
import subprocess, sys
held = bytearray({64 * MIB})
child = "import time; held = bytearray({64 * MIB}); time.sleep(0.6)"
subprocess.run([sys.executable, "-c", child], check=True)
"""
HOLD_WITH_A_FORK = f"""
import os, time
held = b"x" * {128 * MIB}
if os.fork() == 0:
    time.sleep(1)
    os._exit(0)
os.wait()
"""
BURN_IN_CHILD = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
"""


@pytest.mark.parametrize(("held", "most"), [(HOLD_IN_CHILD, 256), (HOLD_WITH_A_FORK, 192)])
def test_memory_is_that_of_all_processes_what_they_share_once(held: str, most: int, tmp_path: Path) -> None:
    cost = run_measured([sys.executable, "-c", held], log=tmp_path / "log")
    assert 128 * MIB < cost.peak_bytes < most * MIB


def test_cpu_seconds_count_the_descendants(tmp_path: Path) -> None:
    cost = run_measured([sys.executable, "-c", BURN_IN_CHILD], log=tmp_path / "log")
    assert 0.3 <= cost.cpu_seconds < 3


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"ended with 3:\nwhy"):
        run_measured([sys.executable, "-c", "print('why'); raise SystemExit(3)"], log=tmp_path / "log")


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert tree_bytes(2**22 + 1) == 0


def test_medians_and_the_highest_peak() -> None:
    costs = [
        Cost(wall_seconds=w, cpu_seconds=c, peak_bytes=p) for w, c, p in [(1, 5, 7), (9, 6, 9), (2, 1, 8)]
    ]
    assert median_cost(costs) == Cost(wall_seconds=2, cpu_seconds=5, peak_bytes=9)


def test_lines_say_whether_a_target_is_met() -> None:
    assert ratio_line("a", 1.14, target=1.15, at_most=True).endswith(" 1.14   target ≤ 1.15   met")
    assert ratio_line("a", 1.16, target=1.15, at_most=True).endswith("MISSED")
    assert ratio_line("a", 2.9, target=3, at_most=False).endswith("≥ 3   MISSED")
    line = cost_line("b", Cost(wall_seconds=1.5, cpu_seconds=2.25, peak_bytes=3 * MIB))
    assert " ".join(line.split()) == "b 1.50 s wall 2.25 s CPU peak 3 MiB"
