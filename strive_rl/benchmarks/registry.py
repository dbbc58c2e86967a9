"""The benchmarks by name."""

from __future__ import annotations

from strive_data.common.settings import choose
from strive_rl.benchmarks.custom import CUSTOM
from strive_rl.benchmarks.item import Benchmark
from strive_rl.benchmarks.rules.mmvu import MMVU
from strive_rl.benchmarks.rules.perceptiontest import PERCEPTIONTEST
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS
from strive_rl.benchmarks.rules.videomme import VIDEOMME
from strive_rl.benchmarks.rules.videommmu import VIDEOMMMU
from strive_rl.benchmarks.rules.vsibench import VSIBENCH

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (VIDEOMME, TEMPCOMPASS, VIDEOMMMU, MMVU, VSIBENCH, PERCEPTIONTEST, CUSTOM)
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises SettingsError with the nearest names for an unknown one."""
    return BENCHMARKS[choose(name, BENCHMARKS, "benchmark")]
