"""The benchmarks by name; a file for each kind of answer has their scoring rules."""

from __future__ import annotations

from strive_data.common.settings import choose
from strive_rl.benchmarks.items import Benchmark
from strive_rl.benchmarks.rules.choices import (
    LONGVIDEOBENCH,
    LVBENCH,
    MLVU,
    MVBENCH,
    NEXT_GQA,
    PERCEPTIONTEST,
    VIDEO_HOLMES,
    VIDEOMME,
)
from strive_rl.benchmarks.rules.numbers import ACTIVITYNET_CAPTIONS, CHARADES_STA, NEXT_GQA_GROUNDED, VSIBENCH
from strive_rl.benchmarks.rules.open_answers import CUSTOM, MMVU, VIDEOMMMU
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        VIDEOMME,
        TEMPCOMPASS,
        VIDEOMMMU,
        MMVU,
        VSIBENCH,
        PERCEPTIONTEST,
        MVBENCH,
        LONGVIDEOBENCH,
        MLVU,
        LVBENCH,
        VIDEO_HOLMES,
        NEXT_GQA,
        NEXT_GQA_GROUNDED,
        CHARADES_STA,
        ACTIVITYNET_CAPTIONS,
        CUSTOM,
    )
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises SettingsError with the nearest names for an unknown one."""
    return BENCHMARKS[choose(name, BENCHMARKS, "benchmark")]
