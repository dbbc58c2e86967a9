from __future__ import annotations

from strive_rl.score_table import compare_table, score_table


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
        "judge": judge,
        "notes": ["Mind this."],
    }
    assert score_table(results).split("\n") == [
        "         official  95 % interval  video_r1  questions  videos",
        "Bench       45.57   35.6 to 55.6     25.00         12       2",
        "by size",
        "  big       50.00   40.0 to 60.0         -          4       2",
        "  small     50.00   40.0 to 60.0         -          4       2",
        "rules cannot tell 3 answers (25.0 %): 1 judged, 2 await a judge and count 0 until then",
        "without a judge: 40.00 with them counted 0, 60.00 over the others",
        "note: Mind this.",
    ]


def test_a_difference_with_its_tests() -> None:
    test = {"won": 5, "lost": 1, "tied": 2, "p": 0.21875}
    overall = {"difference": estimate(0.5, 8), "a": estimate(0.25), "b": estimate(0.75)}
    results = {
        "title": "Bench",
        "overall": overall,
        "sign_test": test,
        "sign_test_videos": test,
        "by": {},
        "notes": [],
    }
    assert compare_table(results).split("\n") == [
        "B − A  points   95 % interval      A      B  won  lost  questions",
        "Bench  +50.00  +40.0 to +60.0  25.00  75.00    5     1          8",
        "sign test over questions, as if independent: p = 0.219 (5 won, 1 lost, 2 tied)",
        "sign test over videos: p = 0.219 (5 won, 1 lost, 2 tied)",
    ]
