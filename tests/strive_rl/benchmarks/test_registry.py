from __future__ import annotations

import pytest

from strive_data.errors import SettingsError
from strive_rl.benchmarks.registry import BENCHMARKS, find_benchmark
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1


def test_every_benchmark_leads_with_its_own_convention_and_has_video_r1s_beside_it() -> None:
    assert set(BENCHMARKS) == {
        "videomme",
        "tempcompass",
        "videommmu",
        "mmvu",
        "vsibench",
        "perceptiontest",
        "mvbench",
        "longvideobench",
        "mlvu",
        "lvbench",
        "video-holmes",
        "next-gqa",
        "charades-sta",
        "activitynet-captions",
        "own",
    }
    for name, benchmark in BENCHMARKS.items():
        if name in ("charades-sta", "activitynet-captions"):
            continue  # answers are seconds, which Video-R1's rules do not read
        leading = ["accuracy"] if name == "own" else ["official", "robust"]
        assert [convention.name for convention in benchmark.conventions] == [*leading, "video_r1"]
        assert benchmark.conventions[-1] is VIDEO_R1


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'videomme'"):
        find_benchmark("video-mme")
