from __future__ import annotations

from dataclasses import replace

import pytest

from strive_rl.benchmarks.items import Scored, Unusable
from strive_rl.benchmarks.rules.choices import VIDEOMME
from strive_rl.benchmarks.rules.open_answers import CUSTOM, MMVU
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS
from strive_rl.benchmarks.scoring import (
    counts,
    elected,
    rules_only,
    scored,
    scored_answers,
    summarise,
    unusable,
    with_one_name_each,
)
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_each_convention_that_has_a_rule_is_asked() -> None:
    choice = scored(MMVU, choice_item("B"), "The answer is B")
    assert choice.status == "scored"
    assert choice.extracted == {"official": "B", "robust": "B", "video_r1": "The answer is B"}
    assert choice.values == {"official": 1.0, "robust": 1.0, "video_r1": 0.0}
    free = scored(MMVU, item("salt"), "salt")
    assert free.values == {"official": 1.0, "robust": 1.0}


def test_a_judgement_counts_where_the_rules_cannot_tell_and_nowhere_else() -> None:
    waiting = scored(MMVU, item("salt"), "brine")
    assert (waiting.status, waiting.values) == ("awaiting judge", {"official": None, "robust": None})
    judged = scored(MMVU, item("salt"), "brine", 1.0)
    assert (judged.status, judged.values) == ("judged", {"official": 1.0, "robust": 1.0})
    assert judged.by_judge == ("official", "robust")
    overridden = scored(MMVU, item("salt"), "salt", 0.0)  # the authors judge every answer
    assert (overridden.values, overridden.by_judge) == ({"official": 0.0, "robust": 1.0}, ("official",))
    assert rules_only(judged, "robust").values == {"official": 1.0, "robust": None}
    assert rules_only(choice := scored(MMVU, choice_item("B"), "B"), "official") == choice


def test_missing_answers_and_unusable_rows_are_worth_nothing() -> None:
    missing = scored(MMVU, choice_item("B"), None)
    nothing = {"official": 0.0, "robust": 0.0, "video_r1": 0.0}
    assert (missing.status, missing.output, missing.values) == ("missing", None, nothing)
    assert scored(MMVU, item("salt"), None, 1.0).values == {"official": 0.0, "robust": 0.0}
    bad = unusable(MMVU, Unusable(sample_id="7#row3", video="", message="no answer", tags={"subject": "Art"}))
    assert (bad.status, bad.video, bad.tags) == ("unusable", "row of 7#row3", {"subject": "Art"})
    assert bad.values == nothing


def test_a_video_has_one_name_with_and_without_its_ending() -> None:
    row = scored(MMVU, item("salt"), "salt")
    given = ("a", "a.mp4", "a.txt", "b", "c", "c.mp4", "c.webm", "d/a", "cafe\u0301.MKV", "caf\u00e9")
    made = with_one_name_each([replace(row, video=video) for video in given])
    assert [each.video for each in made] == [
        *("a.mp4", "a.mp4", "a.txt", "b", "c", "c.mp4", "c.webm", "d/a", "caf\u00e9.MKV", "caf\u00e9.MKV")
    ]


def test_several_answers_count_with_their_mean() -> None:
    made = scored_answers(MMVU, choice_item("B"), ["B", "The answer is B", "A", ""])
    assert (made.status, made.output, made.extracted["robust"]) == ("scored", "B", "B")
    assert made.values == {"official": 0.5, "robust": 0.5, "video_r1": 0.25}
    assert made.outputs == ("B", "The answer is B", "A", "")
    waiting = scored_answers(MMVU, item("salt"), ["salt", "brine"])
    assert (waiting.status, waiting.values) == ("awaiting judge", {"official": None, "robust": None})
    one_left_out = scored_answers(VIDEOMME, choice_item("B"), ["It is red.", "B"])
    assert one_left_out.values == {"official": 1.0, "robust": 0.5, "video_r1": 0.5}
    all_left_out = scored_answers(VIDEOMME, choice_item("B"), ["It is red.", "red"])
    assert (all_left_out.values["robust"], all_left_out.left_out) == (0.0, ("official",))
    assert scored_answers(MMVU, item("salt"), ["salt"]).values == scored(MMVU, item("salt"), "salt").values


def rows() -> list[Scored]:
    """Two right, one unreadable, one empty, one awaiting a judge, one judged, one missing, one unusable."""
    outputs = ["salt", "the salt", "", "brine", None]
    made = [scored(MMVU, item("salt", name=f"o{i}", discipline="Science"), o) for i, o in enumerate(outputs)]
    made.append(scored(MMVU, item("salt", name="judged", discipline="Science"), "sea salt", 1.0))
    made.append(scored(MMVU, choice_item("B", discipline="Art"), "A or C"))
    lost = Unusable(sample_id="x", video="v", message="m", tags={"discipline": "Art"})
    return [*made, unusable(MMVU, lost)]


def test_counts_say_what_became_of_every_row() -> None:
    once = ("missing", "unusable_rows", "empty", "unreadable", "judged", "awaiting_judge")
    assert counts(rows()) == {"questions": 8, "videos": 8, "answered": 6} | dict.fromkeys(once, 1)


def test_missing_counts_as_wrong_or_leaves_the_denominator() -> None:
    wrong = summarise(MMVU, rows(), missing="wrong", resamples=50, seed=0)
    assert wrong["overall"]["official"]["mean"] == pytest.approx(3 / 8)
    assert wrong["overall"]["official"]["questions"] == wrong["counts"]["in_the_mean"] == 8
    excluded = summarise(MMVU, rows(), missing="exclude", resamples=50, seed=0)
    assert excluded["overall"]["official"]["mean"] == pytest.approx(3 / 6)
    assert excluded["counts"]["questions"] == 8
    assert excluded["counts"]["in_the_mean"] == 6


def test_totals_with_and_without_a_judge() -> None:
    judge = summarise(MMVU, rows(), missing="exclude", resamples=50, seed=0)["judge"]["official"]
    assert (judge["asked"], judge["judged"], judge["awaiting"]) == (2, 1, 1)
    assert judge["share"] == pytest.approx(2 / 6)
    assert judge["rules_only"]["mean"] == pytest.approx(2 / 6)
    assert judge["decided_by_rules"]["mean"] == pytest.approx(2 / 4)


def test_conventions_without_a_rule_leave_questions_out() -> None:
    summary = summarise(MMVU, rows(), missing="wrong", resamples=50, seed=0)
    assert summary["overall"]["video_r1"]["questions"] == 2  # the choice, and the row that is no question
    assert summary["by"]["discipline"]["Science"]["video_r1"] is None


def test_categories_partition_the_total() -> None:
    by = summarise(MMVU, rows(), missing="wrong", resamples=50, seed=0)["by"]["discipline"]
    assert list(by) == ["Art", "Science"]
    assert by["Science"]["official"]["mean"] == pytest.approx(3 / 6)
    assert by["Art"]["official"]["mean"] == 0
    assert sum(part["official"]["questions"] for part in by.values()) == 8


def test_a_product_is_shown_where_both_its_tags_divide() -> None:
    tags = {"task": "yes_no", "dimension": "speed", "task × dimension": "yes_no × speed"}
    first = scored(TEMPCOMPASS, item("yes", **tags), "yes")
    second = replace(first, tags={**tags, "dimension": "order", "task × dimension": "yes_no × order"})
    third = replace(first, tags={**tags, "task": "captioning", "task × dimension": "captioning × speed"})
    one_task = summarise(TEMPCOMPASS, [first, second], missing="wrong", resamples=9, seed=0)
    assert list(one_task["by"]) == ["task", "dimension"]
    both = summarise(TEMPCOMPASS, [first, second, third], missing="wrong", resamples=9, seed=0)
    assert list(both["by"]["task × dimension"]) == ["captioning × speed", "yes_no × order", "yes_no × speed"]


CUT, WHOLE = "<think>x</think><answer>B", "<think>x</think><answer>B</answer>"


def test_an_answer_that_counts_as_none_neither_votes_nor_stands_for_others() -> None:
    """Regression: of the texts that say B, one that was cut off was elected, and the right vote was wrong."""
    of_own = elected(CUSTOM, choice_item("B"), [CUT, WHOLE, WHOLE, "A"], [-0.1, -2.0, -1.0, -0.2])
    assert (of_own.index, of_own.agreement) == (2, 0.5)
    of_mmvu = elected(MMVU, choice_item("B"), [CUT, WHOLE, "A"])  # a stop string cuts the closing tag
    assert (of_mmvu.index, of_mmvu.agreement) == (0, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("task", "outputs", "index"),
    [
        ("yes_no", ["No.", "Yes.", "Yes, the man dunks."], 1),
        ("yes_no", ["no", "Hard to see.", "Hard to see."], 1),
        ("caption_matching", ["Caption B: The man sits.", "Caption A", "A", "The man dunks."], 1),
        # A caption has no rule: the one most like the others, not the first of three that differ.
        ("captioning", ["It rains.", "A man dunks a ball.", "The man dunks a ball."], 1),
    ],
)
def test_tempcompass_votes_by_what_its_rules_read(task: str, outputs: list[str], index: int) -> None:
    """Regression: texts in other words were other votes, so the first of three won."""
    asked = item("yes", task=task)
    text = "Which fits?\nCaption A: The man dunks.\nCaption B: The man sits."
    asked = replace(asked, question=replace(asked.question, question=text))
    assert elected(TEMPCOMPASS, asked, outputs).index == index
