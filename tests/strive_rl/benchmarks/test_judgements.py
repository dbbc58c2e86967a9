from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.judgements import judge_row, judge_rows, read_judgements
from strive_rl.benchmarks.rules.open_answers import MMVU
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS
from strive_rl.benchmarks.scoring import scored, scored_answers
from tests.strive_rl.benchmarks.made_items import item

SALT = item("salt", name="s1")
CAPTION = replace(
    item("A. sits", name="c1", task="captioning"),
    judge_question="What does he do?\nA. dunks\nB. sits",
    judge_reference="B. sits",
)


def lines(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "judged.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_an_answer_is_put_before_a_judge_with_question_and_reference() -> None:
    row = judge_row(MMVU, SALT, scored(MMVU, SALT, "<think>x</think><answer>brine</answer>"))
    assert (row["sample_id"], row["question"], row["reference"], row["extracted"]) == (
        "s1",
        "What is seen?",
        "salt",
        "brine",
    )
    assert "Reference: salt" in row["prompt"]
    assert row["output"].startswith("<think>")


def test_of_several_answers_a_judge_sees_those_that_the_rules_cannot_tell() -> None:
    rows = judge_rows(MMVU, SALT, scored_answers(MMVU, SALT, ["brine", "salt", "", "sea salt"]))
    assert [(row["sample_id"], row["answer"], row["extracted"]) for row in rows] == [
        ("s1", 0, "brine"),
        ("s1", 3, "sea salt"),
    ]
    one = scored(MMVU, SALT, "brine")
    assert judge_rows(MMVU, SALT, one) == [judge_row(MMVU, SALT, one)]


def test_a_captions_judge_does_not_see_the_truth() -> None:
    row = judge_row(TEMPCOMPASS, CAPTION, scored(TEMPCOMPASS, CAPTION, "He is on a chair."))
    assert row["reference"] == "B. sits"
    assert "He is on a chair." in row["prompt"]
    assert "Reference" not in row["prompt"]


def test_judgements_are_read_as_scores_or_as_answers_to_a_captions_question(tmp_path: Path) -> None:
    file = lines(
        tmp_path, {"sample_id": "s1", "correct": True}, {"sample_id": "c1", "judge_answer": "B. sits"}
    )
    assert read_judgements(file, [SALT, CAPTION]) == {"s1": 1.0, "c1": 1.0}
    file = lines(tmp_path, {"sample_id": "s1", "score": 0.5}, {"sample_id": "c1", "judge_answer": "A. dunks"})
    assert read_judgements(file, [SALT, CAPTION]) == {"s1": 0.5, "c1": 0.0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"sample_id": "nobody", "score": 1}], "not among 2 questions"),
        ([{"id": "s1", "score": 1}], r"^judgements judged.jsonl: no sample_id; expected a line of"),
        ([7], r"^judgements \S*judged.jsonl: no JSON object in it; expected a line of"),
        ([{"v": {"action": [{"question": "q", "prediction": "B", "rating": 1}]}}], "match none of"),
        ([{"sample_id": "s1", "score": 1}, {"sample_id": "s1", "score": 0}], "judged twice"),
        ([{"sample_id": "s1", "score": 7}], "from 0 to 1"),
        ([{"sample_id": "c1", "extracted": "B. sits", "answer": "B. sits"}], "from 0 to 1"),
        ([{"sample_id": "s1", "score": 1}, 3], "no JSON object"),
    ],
)
def test_a_judgement_that_is_none_is_refused(tmp_path: Path, rows: list[object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_judgements(lines(tmp_path, *rows), [SALT, CAPTION])


def test_a_file_of_judgements_that_is_not_there_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^judgements \S*absent: No such file or directory; expected a line of"
    ):
        read_judgements(tmp_path / "absent", [SALT])
