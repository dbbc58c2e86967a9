from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")

SCRIPT = """
import numpy as np
from strive_data.engines.memory import data_bytes, limit_memory
before = data_bytes()
limit_memory(64 << 20)
kept = np.ones(48 << 20, np.uint8)
print(48 << 20 <= data_bytes() - before < 52 << 20)
try:
    np.ones(32 << 20, np.uint8)
except MemoryError:
    print("refused")
"""


def test_more_than_the_limit_is_refused_and_less_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "refused"]
