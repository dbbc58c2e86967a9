from __future__ import annotations

import json
from pathlib import Path

from strive_rl.benchmarks.readers.detect import read_predictions
from strive_rl.benchmarks.rules.mmvu import MMVU
from strive_rl.benchmarks.scoring import scored

CHOICE = {
    "id": "validation_1",
    "video": "https://huggingface.co/datasets/yale-nlp/MMVU/resolve/main/videos/Art/1.mp4",
    "question_type": "multiple-choice",
    "metadata": {"subject": "Art"},
    "question": "Which?",
    "choices": {"A": "x", "B": "y", "C": ""},
    "answer": "B",
    "response": "So B.",
}
OPEN = CHOICE | {"id": "validation_2", "question_type": "open-ended", "answer": "salt", "choices": {"A": ""}}
JUDGED = [
    {key: row[key] for key in ("id", "question", "choices", "response")}
    | {"ground_truth_answer": row["answer"], "extracted_answer": "B", "correct": True}
    for row in (CHOICE, OPEN)
]


def written(tmp_path: Path, rows: list[dict[str, object]]) -> Path:
    (tmp_path / "model_32frame.json").write_text(json.dumps(rows))
    return tmp_path / "model_32frame.json"


def test_the_annotation_with_responses(tmp_path: Path) -> None:
    file = read_predictions(written(tmp_path, [CHOICE, OPEN, CHOICE | {"response": None}]), MMVU)
    assert (file.format, len(file.bad)) == ("mmvu", 1)
    choice, free = (one.item for one in file.predictions)
    assert choice is not None
    assert free is not None
    assert choice.question.video == "videos/Art/1.mp4"
    assert (choice.question.options, choice.question.answer) == (("A. x", "B. y"), "B")
    assert (choice.tags["subject"], choice.tags["discipline"]) == ("Art", "Humanities and Social Science")
    assert (free.question.problem_type, free.question.answer) == ("free-form", "salt")


def test_the_judged_outputs_carry_the_authors_verdict(tmp_path: Path) -> None:
    file = read_predictions(written(tmp_path, JUDGED), MMVU)
    assert [one.judgement for one in file.predictions] == [1.0, 1.0]
    wrong = file.predictions[0]
    assert wrong.item is not None
    assert scored(MMVU, wrong.item, "A", wrong.judgement).values["official"] == 1.0
    assert scored(MMVU, wrong.item, "A", wrong.judgement).values["robust"] == 0.0
