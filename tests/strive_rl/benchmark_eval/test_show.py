from __future__ import annotations

from typing import Any

from strive_rl.benchmark_eval.show import benchmark_table


def estimate(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "questions": 8, "videos": 4}


def column(mean: float) -> dict[str, Any]:
    return {
        "title": "VideoMME",
        "conventions": {"official": ""},
        "overall": {"official": estimate(mean)},
        "by": {},
        "notes": [],
    }


def gain(difference: float) -> dict[str, Any]:
    test = {"won": 3, "lost": 1, "tied": 4, "p": 0.625}
    return {
        "title": "VideoMME",
        "overall": {"difference": estimate(difference), "a": estimate(0.5), "b": estimate(0.75)},
        "sign_test": test,
        "sign_test_videos": test,
        "by": {},
        "notes": [],
    }


def test_columns_then_gains_then_what_has_no_answer() -> None:
    results = {
        "columns": {"uniform": column(0.5), "peaks": column(0.75)},
        "gains": {"peaks": gain(0.25)},
        "baseline": {"uniform": gain(0.125)},
        "failures": {"missing": 2, "timeout": 1},
        "missing": "exclude",
    }
    lines = benchmark_table(results).split("\n")
    heads = [line for line in lines if "frames" in line]
    assert heads == [
        "uniform frames",
        "peaks frames",
        "peaks − uniform frames, of the same model, by the choice of frames alone: no gain of training",
        "this − baseline, uniform frames",
    ]
    assert sum("+25.00" in line for line in lines) == 1
    assert sum("+12.50" in line for line in lines) == 1
    assert lines[-1] == (
        "questions without an answer: 2 missing, 1 timeout (failures.jsonl); they are left out of the mean"
    )
    bare = {"columns": {"uniform": column(0.5)}, "gains": {}, "failures": {}, "missing": "wrong"}
    assert "without an answer" not in benchmark_table(bare)
