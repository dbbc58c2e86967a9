"""The table of results, by hand."""

from __future__ import annotations

from strive_rl.table import aligned, results_table


def made(mean: float, low: float | None, high: float | None, questions: int) -> dict[str, float | int | None]:
    return {"mean": mean, "low": low, "high": high, "questions": questions, "videos": 3}


def test_the_table() -> None:
    results = {
        "samplers": {
            "uniform": {
                "accuracy": made(0.5, 0.4, 0.625, 10),
                "evidence_seen": made(0.75, None, None, 4),
                "evidence_missed": None,
                "format": 1.0,
            }
        },
        "gain": {"uniform": made(0.123, -0.02, 0.2, 10)},
        "dropped": [{"sample_id": "q"}],
    }
    assert results_table(results).splitlines() == [
        "frames   accuracy  95 % interval  questions  evidence seen  evidence missed  format",
        "uniform      50.0   40.0 to 62.5         10       75.0 (4)                -   100.0",
        "gain, uniform frames: +12.3 points, 95 % interval -2.0 to +20.0, 10 questions",
        "dropped: 1 prompt, see results.json",
    ]


def test_columns_are_aligned() -> None:
    assert aligned([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc   d"]
