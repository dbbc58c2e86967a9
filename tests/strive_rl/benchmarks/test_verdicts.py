from __future__ import annotations

from strive_rl.benchmarks.item import Unusable
from strive_rl.benchmarks.mmvu import MMVU
from strive_rl.benchmarks.verdicts import rules_only, scored, scored_answers, unusable
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_each_convention_that_has_a_rule_is_asked() -> None:
    choice = scored(MMVU, choice_item("B"), "The answer is B")
    assert (choice.status, choice.extracted, choice.values) == (
        "scored",
        "B",
        {"official": 1.0, "video_r1": 0.0},
    )
    free = scored(MMVU, item("salt"), "salt")
    assert free.values == {"official": 1.0}


def test_a_judgement_counts_where_the_rules_cannot_tell_and_nowhere_else() -> None:
    waiting = scored(MMVU, item("salt"), "brine")
    assert (waiting.status, waiting.values) == ("awaiting judge", {"official": None})
    judged = scored(MMVU, item("salt"), "brine", 1.0)
    assert (judged.status, judged.values) == ("judged", {"official": 1.0})
    assert scored(MMVU, item("salt"), "salt", 0.0).values == {"official": 1.0}
    assert scored(MMVU, item("salt"), "", 1.0).values == {"official": 0.0}
    assert rules_only(judged, "official").values == {"official": 0.0}
    assert rules_only(choice := scored(MMVU, choice_item("B"), "B"), "official") == choice


def test_missing_answers_and_unusable_rows_are_worth_nothing() -> None:
    missing = scored(MMVU, choice_item("B"), None)
    assert (missing.status, missing.output, missing.values) == (
        "missing",
        None,
        {"official": 0.0, "video_r1": 0.0},
    )
    assert scored(MMVU, item("salt"), None, 1.0).values == {"official": 0.0}
    bad = unusable(MMVU, Unusable(sample_id="7#row3", video="", message="no answer", tags={"subject": "Art"}))
    assert (bad.status, bad.video, bad.tags) == ("unusable", "row of 7#row3", {"subject": "Art"})
    assert bad.values == {"official": 0.0, "video_r1": 0.0}


def test_several_answers_count_with_their_mean() -> None:
    made = scored_answers(MMVU, choice_item("B"), ["B", "The answer is B", "A", ""])
    assert (made.status, made.output, made.extracted) == ("scored", "B", "B")
    assert made.values == {"official": 0.5, "video_r1": 0.25}
    assert made.outputs == ("B", "The answer is B", "A", "")
    waiting = scored_answers(MMVU, item("salt"), ["salt", "brine"])
    assert (waiting.status, waiting.values) == ("awaiting judge", {"official": None})
    assert scored_answers(MMVU, item("salt"), ["salt"]).values == scored(MMVU, item("salt"), "salt").values
