from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from strive_rl.benchmarks.formats import FORMATS
from strive_rl.benchmarks.items import ItemSet, read_items
from strive_rl.benchmarks.predictions import join, read_records
from strive_rl.benchmarks.rules.tempcompass import (
    TASKS,
    TEMPCOMPASS,
    judged_letter,
    leading_letter,
    matched_caption,
    official_score,
    robust_score,
    with_judge_questions,
    yes_or_no,
)
from strive_rl.benchmarks.scoring import scored, total
from tests.strive_rl.benchmarks.made_items import choice_item, item

MATCHING = "Which fits?\nCaption A: The man dunks.\nCaption B: The man sits."
# Counted in the published rated files: rows, those that the rules match, points with the judge's and without.
PUBLISHED = {
    "multi-choice": (1580, 1580, 720, 720),
    "yes_no": (2453, 2453, 1383, 1383),
    "caption_matching": (1503, 1496, 952, 951),
}
TOTALS = {"multi-choice": "45.57", "yes_no": "56.38", "caption_matching": "63.34"}


@pytest.fixture(scope="module")
def published(shared_data: Path) -> ItemSet:
    folder = shared_data / "benchmarks" / "tempcompass"
    return read_items([folder / f"{task}.json" for task in TASKS], TEMPCOMPASS)


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_authors_ratings_of_a_real_model_are_reproduced(
    published: ItemSet, shared_data: Path, task: str
) -> None:
    folder = shared_data / "benchmarks" / "tempcompass"
    items = [one for one in published.items if one.tags["task"] == task]
    rated = read_records(folder / f"video-llava.{task}.rated.json")
    answers = join(items, FORMATS["tempcompass"].read(rated, TEMPCOMPASS).predictions).predictions
    rows = {
        f"{task}-{video}-{dimension}-{number}": row
        for video, dimensions in (rated.tree or {}).items()
        for dimension, rows in dimensions.items()
        for number, row in enumerate(rows)
    }
    points = decided = with_judge = 0
    for one in items:
        row, name = rows[one.question.sample_id], one.question.sample_id
        verdict = official_score(answers[name].output, one)
        assert (verdict.value is not None) == row["match_success"]
        assert verdict.value in (None, row["rating"])
        decided += verdict.value is not None
        points += verdict.value or 0
        with_judge += answers[name].judgement if verdict.value is None else verdict.value
    assert (len(items), decided, with_judge, points) == PUBLISHED[task]
    assert f"{100 * with_judge / len(items):.2f}" == TOTALS[task]


@pytest.mark.parametrize(
    ("file", "total", "robust"),
    [
        ("tempcompass_reka_flash/multi-choice", "56.65", 56),
        ("tempcompass_reka_flash/yes_no", "62.49", 62),
        ("tempcompass_gemini/rated/multi-choice", "63.92", 63),
        ("tempcompass_gemini/rated/yes_no", "70.32", 70),
        ("tempcompass_gemini/rated/caption_matching", "77.45", 77),
        ("tempcompass_gemini/rated/captioning", "57.88", 57),
    ],
)
def test_the_authors_totals_of_other_models_are_reproduced(
    published: ItemSet, shared_data: Path, file: str, total: str, robust: int
) -> None:
    records = read_records(shared_data / "benchmarks" / f"{file}.json")
    items = [one for one in published.items if one.tags["task"] == Path(file).name]
    answers = join(items, FORMATS["tempcompass"].read(records, TEMPCOMPASS).predictions).predictions
    given = [(one, answers[one.question.sample_id]) for one in items]
    rows = [scored(TEMPCOMPASS, one, answer.output, answer.judgement) for one, answer in given]
    values = [[row.values[name] or 0 for row in rows] for name in ("official", "robust")]
    assert f"{100 * sum(values[0]) / len(rows):.2f}" == total
    assert robust <= 100 * sum(values[1]) / len(rows) < robust + 1


def test_fine_grained_aspects_are_those_of_meta_info(published: ItemSet) -> None:
    choices = [one for one in published.items if one.tags["task"] == "multi-choice"]
    aspects = Counter(one.tags["aspect"] for one in choices)
    assert len(aspects) == 11
    assert aspects["coarse-grained action"] == 185
    assert aspects["order"] == sum(one.tags["dimension"] == "order" for one in choices)


def test_a_letter_a_word_and_a_caption_count_at_the_very_begin_only() -> None:
    for output, letter in (("A", "A"), ("B. dunking", "B"), ("C) no", "C"), ("D.", "D")):
        assert leading_letter(output) == letter
    for output in ("A man", "a", "E", " A", "", "The answer is B", "AB", "(A)"):
        assert leading_letter(output) is None, output
    for output, word in (("Yes, it does.", "yes"), ("NO", "no"), ("not really", "no")):
        assert yes_or_no(output) == word
    assert yes_or_no("It is: yes") is yes_or_no(" yes") is None
    for output in ("Caption A: The man dunks.", "The man sits.", "Caption B", "A"):
        assert matched_caption(output, MATCHING) == output
    for output, named in (("2) The man sits.", "The man sits."), ("Caption B.", "Caption B"), ("B.", "B")):
        assert matched_caption(output, MATCHING) == named
    for output in ("Caption A: The man sits.", "caption a", "The man dunks", "C"):
        assert matched_caption(output, MATCHING) is None, output


def test_each_task_has_its_rule() -> None:
    matching = item("Caption A: The man dunks.", task="caption_matching")
    matching = replace(matching, question=replace(matching.question, question=MATCHING))
    values = {
        output: official_score(output, matching).value for output in ("A", " Caption A\n", "B.", "Maybe A")
    }
    assert values == {"A": 1, " Caption A\n": 1, "B.": 0, "Maybe A": None}
    yes = item("yes", task="yes_no")
    assert [official_score(output, yes).value for output in ("Yes!", "no", "perhaps")] == [1, 0, None]
    caption = item("B. dunking", task="captioning")
    assert official_score("A man dunks.", caption).value is None
    assert official_score("B. candles", choice_item(task="multi-choice")).value == 1


@pytest.mark.parametrize("task", ["multi-choice", "yes_no", "caption_matching", "captioning"])
@pytest.mark.parametrize("output", ["", "  \n", "</s>", "<answer></answer>", "<think>A. yes"])
def test_an_empty_answer_is_wrong_without_a_judge(task: str, output: str) -> None:
    verdict = official_score(output, choice_item(task=task))
    assert (verdict.value, verdict.extracted) == (0.0, None)


@pytest.mark.parametrize("output", [" A. dunks", "A</s>", "<think>B or A?</think><answer> A </answer>"])
def test_the_rules_apply_to_the_stripped_answer(output: str) -> None:
    assert official_score(output, choice_item("A", task="multi-choice")).value == 1


@pytest.mark.parametrize(
    ("task", "output", "official", "robust"),
    [
        ("multi-choice", "The answer is B.", None, 1),
        ("multi-choice", "I cannot see it.", None, None),
        ("yes_no", "The answer is: **yes**", None, 1),
        ("yes_no", "Not really.", 0, 0),
        ("yes_no", "**No**, he does not.", None, 0),
        ("caption_matching", "**Caption A**", None, 1),
        ("caption_matching", "The answer is A.", None, 1),
        ("caption_matching", "The man dunks", None, 1),
        ("caption_matching", "The first caption matches best.", None, 1),
        ("caption_matching", "Caption A: The man dunks.\nHe does not sit.", None, 1),
        ("caption_matching", "Not the first, but the second.", None, 0),
        ("caption_matching", "Neither caption matches.", None, None),
    ],
)
def test_two_readings_of_one_output(
    task: str, output: str, official: float | None, robust: float | None
) -> None:
    answers = {"multi-choice": "B", "yes_no": "yes", "caption_matching": "Caption A: The man dunks."}
    one = choice_item("B", task=task) if task == "multi-choice" else item(answers[task], task=task)
    if task == "caption_matching":
        one = replace(one, question=replace(one.question, question=MATCHING))
    assert (official_score(output, one).value, robust_score(output, one).value) == (official, robust)


def test_captions_without_a_judge_stay_out_of_the_total() -> None:
    choice, caption = choice_item("B", task="multi-choice"), item("B. dunks", task="captioning")
    official = TEMPCOMPASS.conventions[0]
    right, empty = scored(TEMPCOMPASS, choice, "B"), scored(TEMPCOMPASS, caption, "")
    awaiting = scored(TEMPCOMPASS, caption, "A man dunks.")
    alone = total(official, [right, awaiting, empty], (10, 0))
    assert (alone.mean, alone.questions) == (1, 1)
    judged = scored(TEMPCOMPASS, caption, "A man dunks.", 1.0)
    both = total(official, [right, awaiting, empty, judged], (10, 0))
    assert (both.mean, both.questions) == (pytest.approx(2 / 3), 3)  # the empty caption is wrong


@pytest.mark.parametrize(
    ("answer", "value"),
    [("B. ice skating", 1), ("A. skiing", 0), ("A. skiing, B. ice skating", 0), ("none", 0), ("B", 0)],
)
def test_a_judge_who_answered_the_captions_question_must_name_one_option(answer: str, value: float) -> None:
    assert judged_letter(answer, "B. ice skating") == value


def test_a_caption_is_judged_by_the_first_question_on_its_video_and_dimension() -> None:
    asked = "Pick.\nInformation A: {'action': 'sits'}\nInformation B: {'action': 'dunks'}\nGenerated Caption:"
    caption = item("B. dunks", task="captioning", dimension="action")
    caption = replace(caption, question=replace(caption.question, question=asked))
    choice = choice_item("C", task="multi-choice", dimension="action")
    other = choice_item("A", task="multi-choice", dimension="speed")
    with_choice = with_judge_questions([other, choice, caption])[-1]
    assert with_choice.judge_reference == "C. berries"
    assert with_choice.judge_question.startswith("What is seen?\nA. apples\nB. candles")
    alone = with_judge_questions([caption])[0]
    assert alone.judge_reference == "B. dunks"
    assert alone.judge_question.split("\n")[1:] == ["A. {'action': 'sits'}", "B. {'action': 'dunks'}"]


def test_all_published_questions_are_read(published: ItemSet) -> None:
    by_task = [sum(one.tags["task"] == task for one in published.items) for task in TASKS]
    assert by_task == [1580, 2453, 1503, 2004]
    assert published.rows == TEMPCOMPASS.published == 7540
    assert len({one.question.video for one in published.items}) == 410
    assert all(one.judge_reference for one in published.items if one.tags["task"] == "captioning")


def test_each_task_is_asked_for_what_its_rule_reads() -> None:
    assert "yes or no" in TEMPCOMPASS.form(item("yes", task="yes_no"))
    assert "before the colon" in TEMPCOMPASS.form(item("A", task="caption_matching"))
    assert "caption" in TEMPCOMPASS.form(item("A", task="captioning"))
    assert TEMPCOMPASS.form(choice_item("A", task="multi-choice")) == ""
