from __future__ import annotations

from typing import Any

from strive_rl.eval.on_benchmark import benchmark_table
from strive_rl.eval.table import aligned, compare_table, results_table, score_table


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
                "grounding": {"answers": 2, "mIoU": 0.41, "R@0.3": 0.5, "R@0.5": 0.5, "R@0.7": 0.0},
            }
        },
        "gain": {"uniform": made(0.123, -0.02, 0.2, 10)},
        "dropped": [{"sample_id": "q"}],
    }
    assert results_table(results).splitlines() == [
        "frames   accuracy  95 % interval  questions  evidence  no evidence  format",
        "uniform      50.0   40.0 to 62.5         10  75.0 (4)            -   100.0",
        "temporal grounding, uniform frames: mIoU 41.0, R@0.3 50.0, R@0.5 50.0, R@0.7 0.0, 2 answers",
        "gain, uniform frames: +12.3 points, 95 % interval -2.0 to +20.0, 10 questions",
        "dropped: 1 prompt, see results.json",
    ]


def test_the_columns_of_shards_fit_a_terminal_and_one_video_has_no_interval() -> None:
    """Regression: the head was 86 characters wide."""
    part = made(1.0, None, None, 320)
    column = {"accuracy": part, "evidence_seen": part, "evidence_missed": part, "format": 1.0}
    head, row = results_table({"samplers": {"importance": column}, "dropped": []}).splitlines()
    assert len(head) == len(row) <= 80
    assert "100.0        too few" in row


def test_a_vote_and_its_controls_fit_a_terminal() -> None:
    """Regression: their table was 118 characters wide."""
    names = ["importance", *(f"importance-{control}" for control in ("single", "samples", "frames"))]
    part = made(0.5, 0.45, 0.55, 1600)
    column = {"accuracy": part, "evidence_seen": part, "evidence_missed": part, "format": 1.0}
    cost = {"agreement": 0.9, "prompts": 6400, "frames": 204_800, "completions": 6400, "seconds": 12345.6}
    lines = results_table(
        {
            "samplers": dict.fromkeys(names, column),
            "votes": dict.fromkeys(names, cost | {"way": "4 variants"}),
            "vote_gains": {name: made(0.01, -0.1, 0.1, 1600) for name in names[1:]},
            "dropped": [],
        }
    ).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines[6].split()) == "importance 50.0 45.0 to 55.0 90.0 6,400 204,800 12345.6"
    assert lines[7].startswith("  single ")
    assert "importance-samples: 4 variants, 6,400 completions" in lines


def test_columns_are_aligned() -> None:
    assert aligned([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc   d"]


def estimate(mean: float, questions: int = 4) -> dict[str, object]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "questions": questions, "videos": 2}


def test_total_categories_judge_and_notes() -> None:
    part = {"official": estimate(0.5), "video_r1": None}
    judge = {"asked": 3, "share": 0.25, "judged": 1, "awaiting": 2}
    judge |= {"rules_only": estimate(0.4), "decided_by_rules": estimate(0.6)}  # type: ignore[dict-item]
    results = {
        "title": "Bench",
        "conventions": {"official": "", "video_r1": ""},
        "overall": {"official": estimate(0.4557, 12), "video_r1": estimate(0.25)},
        "by": {
            "size": {"big": part, "small": part},
            "alone": {"x": part},
            "many": dict.fromkeys("abcdefghijklm", part),
        },
        "judge": {"official": judge},
        "notes": ["Mind this."],
    }
    assert score_table(results).split("\n") == [
        "         official  95 % interval  video_r1  questions  videos",
        "Bench       45.57   35.6 to 55.6     25.00         12       2",
        "by size",
        "  big       50.00   40.0 to 60.0         -          4       2",
        "  small     50.00   40.0 to 60.0         -          4       2",
        "official: rules do not decide 3 answers (25.0 %): 1 judged, 2 await a judge and count 0 until then; "
        "without a judge 40.00 with them as 0, 60.00 without them",
        "note: Mind this.",
    ]


def difference(mean: float) -> dict[str, Any]:
    """A comparison on 8 questions, under two conventions."""
    test = {"won": 5, "lost": 1, "tied": 2, "p": 0.21875}
    overall = {"difference": estimate(mean, 8), "a": estimate(0.25), "b": estimate(0.75)}
    made = {"title": "Bench", "convention": "official", "overall": overall, "by": {}, "notes": []}
    readings = {"official": overall, "robust": overall}
    return made | {"readings": readings, "sign_test": test, "sign_test_videos": test}


def test_a_difference_with_its_tests() -> None:
    assert compare_table(difference(0.5)).split("\n") == [
        "B − A     points   95 % interval      A      B  won  lost  questions",
        "Bench     +50.00  +40.0 to +60.0  25.00  75.00    5     1          8",
        "  robust  +50.00  +40.0 to +60.0  25.00  75.00                     8",
        "sign test over questions, taken as independent: p = 0.219 (5 won, 1 lost, 2 tied)",
        "sign test over videos: p = 0.219 (5 won, 1 lost, 2 tied)",
    ]


def test_columns_then_gains_then_what_has_no_answer() -> None:
    column = {"title": "Bench", "conventions": {"official": ""}, "by": {}, "notes": []}
    column |= {"overall": {"official": estimate(0.5)}}
    results = {
        "columns": {"uniform": column, "peaks": column},
        "gains": {"peaks": difference(0.25)},
        "baseline": {"uniform": difference(0.125)},
        "failures": {"missing": 2, "timeout": 1},
        "missing": "exclude",
    }
    lines = benchmark_table(results).split("\n")
    heads = [line for line in lines if "frames" in line]
    assert heads == [
        "uniform frames",
        "peaks frames",
        "peaks − uniform frames, of the same model, by the choice of frames alone: not a gain of training",
        "this − baseline, uniform frames",
    ]
    assert sum(line.startswith("Bench     +25.00") for line in lines) == 1
    assert sum(line.startswith("Bench     +12.50") for line in lines) == 1
    assert lines[-1] == (
        "questions without an answer: 2 missing, 1 timeout (failures.jsonl); they are left out of the mean"
    )
    bare = {"columns": {"uniform": column}, "gains": {}, "failures": {}, "missing": "wrong"}
    assert "without an answer" not in benchmark_table(bare)
