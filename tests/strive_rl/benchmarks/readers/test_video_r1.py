from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.readers.prediction import Records
from strive_rl.benchmarks.readers.video_r1 import fits, read
from strive_rl.benchmarks.rules.vsibench import VSIBENCH

ROW = {
    "problem_id": 3,
    "problem": "How many tables?",
    "problem_type": "regression",
    "options": None,
    "solution": "<answer>4</answer>",
    "path": "./arkitscenes/41.mp4",
    "original_question_type": "object_counting",
    "output": "<answer>5</answer>",
    "prediction": "5",
}


def test_results_hold_output_and_question() -> None:
    file = Records(path=Path("eval.json"), tree={"results": [ROW, {"problem": "Q"}], "final_acc": [{}]})
    assert fits(file)
    read_file = read(file, VSIBENCH)
    one = read_file.predictions[0]
    assert (one.output, one.ids, one.video) == ("<answer>5</answer>", ("3",), "./arkitscenes/41.mp4")
    assert one.item is not None
    assert (one.item.question.answer, one.item.tags["task"]) == ("4", "object_counting")
    assert read_file.bad == ("eval.json results[1]: no output",)


def test_rows_alone_do_as_well_and_a_bad_question_is_none() -> None:
    rows = Records(path=Path("rows.json"), rows=(("item 0", ROW | {"solution": "four"}),))
    assert fits(rows)
    assert read(rows, VSIBENCH).predictions[0].item is None
