"""The benchmarks by name."""

from __future__ import annotations

from strive_data.common.settings import choose
from strive_rl.benchmarks.custom import CUSTOM
from strive_rl.benchmarks.item import Benchmark
from strive_rl.benchmarks.rules.grounding import ACTIVITYNET_CAPTIONS, CHARADES_STA
from strive_rl.benchmarks.rules.longvideobench import LONGVIDEOBENCH
from strive_rl.benchmarks.rules.lvbench import LVBENCH
from strive_rl.benchmarks.rules.mlvu import MLVU
from strive_rl.benchmarks.rules.mmvu import MMVU
from strive_rl.benchmarks.rules.mvbench import MVBENCH
from strive_rl.benchmarks.rules.next_gqa import NEXT_GQA
from strive_rl.benchmarks.rules.perceptiontest import PERCEPTIONTEST
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS
from strive_rl.benchmarks.rules.video_holmes import VIDEO_HOLMES
from strive_rl.benchmarks.rules.videomme import VIDEOMME
from strive_rl.benchmarks.rules.videommmu import VIDEOMMMU
from strive_rl.benchmarks.rules.vsibench import VSIBENCH

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
        CHARADES_STA,
        ACTIVITYNET_CAPTIONS,
        CUSTOM,
    )
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises SettingsError with the nearest names for an unknown one."""
    return BENCHMARKS[choose(name, BENCHMARKS, "benchmark")]
