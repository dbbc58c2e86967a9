"""`strive-rl score`: files in, four files out, and what a reader must know of the denominator."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl.benchmarks.items import Benchmark
from strive_rl.benchmarks.rules.choices import PERCEPTIONTEST
from strive_rl.benchmarks.rules.open_answers import CUSTOM, MMVU
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS
from strive_rl.common import jsonl
from strive_rl.eval.config import ScoreSettings
from strive_rl.eval.score import score

QUICK = ScoreSettings(bootstrap_resamples=50)


def annotation(tmp_path: Path) -> Path:
    common = {"problem_type": "multiple choice", "options": ["A. x", "B. y"]}
    rows = [
        common
        | {"problem_id": i, "problem": f"Question {i}?", "path": f"v{i // 2}.mp4"}
        | {"solution": "B" if i != 5 else "Z", "data_source": "one" if i < 3 else "two"}
        for i in range(6)
    ]
    file = tmp_path / "own.json"
    file.write_text(json.dumps(rows))
    return file


def answers(tmp_path: Path, *outputs: str, name: str = "predictions.jsonl") -> Path:
    file = tmp_path / name
    jsonl.append(file, [{"sample_id": str(i), "output": output} for i, output in enumerate(outputs)])
    return file


def run(
    tmp_path: Path, file: Path, benchmark: Benchmark = CUSTOM, out: str = "out", **of: Any
) -> dict[str, Any]:
    of = {"annotations": [annotation(tmp_path)], "settings": QUICK} | of
    return score([file], tmp_path / out, benchmark=benchmark, **of)


@pytest.mark.parametrize(
    ("missing", "mean", "questions", "said"),
    [("wrong", 2 / 6, 6, "they count as wrong"), ("exclude", 2 / 3, 3, "they are left out of the mean")],
)
def test_missing_and_unusable_count_as_wrong_or_leave_the_mean(
    tmp_path: Path, missing: Any, mean: float, questions: int, said: str
) -> None:
    settings = replace(QUICK, missing=missing)
    results = run(tmp_path, answers(tmp_path, "B", "A", "The answer is B"), settings=settings)
    accuracy = results["overall"]["accuracy"]
    assert (accuracy["mean"], accuracy["questions"]) == (pytest.approx(mean), questions)
    counted = {"questions": 6, "answered": 3, "missing": 2, "unusable_rows": 1}
    assert results["counts"] | counted == results["counts"]
    assert f"without a usable row or answer: 3 of 6 questions; {said}." in results["notes"]
    assert results["by"]["source"]["one"]["accuracy"]["mean"] == pytest.approx(2 / 3)


def test_of_several_predictions_one_is_elected(tmp_path: Path) -> None:
    """From lines, from a list of answers, and from several files; without an id round by round."""
    voting = replace(QUICK, vote=True)
    file = answers(tmp_path, "A", "B", name="one.jsonl")
    jsonl.append(file, [{"sample_id": "0", "output": output} for output in ("B", "I say B")])
    jsonl.append(file, [{"sample_id": "2", "output": "A", "outputs": ["A", "B", "B"]}])
    with pytest.raises(UsageError, match=r"question 0 is answered twice.*--vote"):
        run(tmp_path, file)
    results = run(tmp_path, file, out="voted", settings=voting)
    rows = {row["sample_id"]: row for row in jsonl.read(tmp_path / "voted" / "scored.jsonl")}
    assert [rows[i]["output"] for i in ("0", "1", "2")] == ["B", "B", "B"]
    assert results["overall"]["accuracy"]["mean"] == pytest.approx(3 / 6)
    assert results["counts"]["voters"] == 7
    assert any("7 predictions; a gain over single answers is one at inference" in n for n in results["notes"])
    more = [answers(tmp_path, "B", "A", name="two.jsonl"), answers(tmp_path, "B", "A", name="three.jsonl")]
    several = score(
        [file, *more],
        tmp_path / "files",
        benchmark=CUSTOM,
        annotations=[annotation(tmp_path)],
        settings=voting,
    )
    assert several["overall"]["accuracy"]["mean"] == pytest.approx(2 / 6)


def test_our_voted_predictions_count_as_elected_or_vote_again(tmp_path: Path) -> None:
    line = {"sample_id": "0", "output": "B", "outputs": ["A", "A", "B"], "elected": 2}
    file = tmp_path / "own.jsonl"
    jsonl.append(file, [line | {"logprobs": [-1.0, -2.0, -0.1]}])
    assert run(tmp_path, file)["overall"]["accuracy"]["mean"] == pytest.approx(1 / 6)
    again = run(tmp_path, file, out="again", settings=replace(QUICK, vote=True))
    assert again["overall"]["accuracy"]["mean"] == 0.0
    other = tmp_path / "other.jsonl"  # another tool's list
    jsonl.append(other, [line | {"outputs": ["A", 3, "B"]}])
    assert run(tmp_path, other, out="list")["overall"]["accuracy"]["mean"] == pytest.approx(1 / 6)


def test_bad_and_unknown_predictions_are_counted(tmp_path: Path) -> None:
    file = answers(tmp_path, "B", "B")
    jsonl.append(file, [{"sample_id": "0", "output": "B"}, {"sample_id": "99", "output": "B"}])
    with file.open("a") as lines:
        lines.write("{cut\n")
    counts = run(tmp_path, file)["counts"]
    names = ("bad_prediction_rows", "unknown_predictions", "repeated_predictions")
    assert [counts[name] for name in names] == [1, 1, 1]


def test_every_question_is_written_with_its_output(tmp_path: Path) -> None:
    results = run(tmp_path, answers(tmp_path, "B", "no idea"))
    rows = jsonl.read(tmp_path / "out" / "scored.jsonl")
    assert [row["status"] for row in rows] == [
        "scored",
        "scored",
        "missing",
        "missing",
        "missing",
        "unusable",
    ]
    assert (rows[1]["output"], rows[1]["extracted"]["accuracy"], rows[1]["values"]["accuracy"]) == (
        "no idea",
        None,
        0.0,
    )
    assert jsonl.read_json(tmp_path / "out" / "results.json") == results
    assert "Question 1?" in (tmp_path / "out" / "page.html").read_text()
    with pytest.raises(UsageError, match="already holds results"):
        run(tmp_path, tmp_path / "predictions.jsonl")


def test_predictions_that_hold_their_questions_need_no_annotation(tmp_path: Path) -> None:
    whole = {"question": "Q?", "answer": "B", "problem_type": "multiple choice", "options": ["A. x", "B. y"]}
    file = tmp_path / "whole.jsonl"
    whole |= {"sample_id": "1", "output": "B", "video": "v.mp4", "sampler": "uniform"}
    jsonl.append(file, [whole | {"times": [0.5, 2]}])
    results = run(tmp_path, file, annotations=())
    assert results["overall"]["accuracy"]["mean"] == 1
    assert any("No annotation was given" in note for note in results["notes"])
    frames = jsonl.read(tmp_path / "out" / "scored.jsonl")[0]["frames"]
    assert frames == {"sampler": "uniform", "times": [0.5, 2]}
    assert "2 uniform frames at 0.5, 2 s" in (tmp_path / "out" / "page.html").read_text()
    with pytest.raises(UsageError, match="--annotations"):
        run(tmp_path, answers(tmp_path, "B"), annotations=(), out="other")


def test_predictions_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    jsonl.append(file, [{"sample_id": "x", "output": "B"}])
    with pytest.raises(UsageError, match=r"none of 1 prediction .* ids x, .* have 0; 1; 2"):
        run(tmp_path, file)
    with pytest.raises(SettingsError, match="missing"):
        ScoreSettings(missing="ignore")  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_awaits_a_judge_is_written_out_and_read_back(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks" / "tempcompass"
    rated = folder / "video-llava.caption_matching.rated.json"
    tree = json.loads(rated.read_text())
    for row in (row for dimensions in tree.values() for rows in dimensions.values() for row in rows):
        del row["rating"]
    unrated = tmp_path / "caption_matching.json"
    unrated.write_text(json.dumps(tree))
    of: dict[str, Any] = {"annotations": [folder / "caption_matching.json"], "settings": QUICK}
    first = score([unrated], tmp_path / "rules", benchmark=TEMPCOMPASS, **of)
    assert first["overall"]["official"]["mean"] == pytest.approx(951 / 1503)
    assert (first["judge"]["official"]["asked"], first["judge"]["official"]["awaiting"]) == (7, 7)
    asked = jsonl.read(tmp_path / "rules" / "for_judge.jsonl")
    assert len(asked) == 7
    correct = "Option 1: A light bulb is lighting up while the tree is growing up at the same time"
    judged = [{"sample_id": row["sample_id"], "score": row["reference"] == correct} for row in asked]
    jsonl.append(tmp_path / "judged.jsonl", judged)
    for number, judgements in enumerate((tmp_path / "judged.jsonl", rated)):
        second = score([unrated], tmp_path / f"j{number}", benchmark=TEMPCOMPASS, judgements=judgements, **of)
        assert f"{100 * second['overall']['official']['mean']:.2f}" == "63.34"
        assert second["judge"]["official"]["rules_only"]["mean"] == pytest.approx(951 / 1503)
        assert second["judge"]["official"]["awaiting"] == 0
        assert not (tmp_path / f"j{number}" / "for_judge.jsonl").exists()
    held = score([rated], tmp_path / "held", benchmark=TEMPCOMPASS, **of)  # the file's own ratings
    assert f"{100 * held['overall']['official']['mean']:.2f}" == "63.34"


def test_an_lmms_eval_file_of_a_published_benchmark_is_joined_whole(
    shared_data: Path, tmp_path: Path
) -> None:
    published = shared_data / "benchmarks" / "mmvu" / "validation.json"
    rows = json.loads(published.read_text())
    file = tmp_path / "samples_mmvu_val.jsonl"
    said = [
        {"doc_id": i, "doc": row, "resps": [[f"The answer is {row['answer']}"]]} for i, row in enumerate(rows)
    ]
    jsonl.append(file, said)
    results = score([file], tmp_path / "out", benchmark=MMVU, annotations=[published], settings=QUICK)
    assert results["overall"]["official"]["mean"] == 1
    assert (results["counts"]["answered"], results["counts"]["unknown_predictions"]) == (1000, 0)


def test_perceptiontest_says_what_it_was_trained_on(tmp_path: Path) -> None:
    row = {"video_name": "v", "question_id": 0, "question": "Q?", "options": ["x", "y", "z"], "answer_id": 2}
    row |= {"area": "memory", "reasoning": "descriptive"}
    file = tmp_path / "validation.json"
    file.write_text(json.dumps([row]))
    predictions = tmp_path / "p.jsonl"
    jsonl.append(predictions, [{"sample_id": "v-0", "output": "C"}])
    results = score(
        [predictions], tmp_path / "out", benchmark=PERCEPTIONTEST, annotations=[file], settings=QUICK
    )
    assert PERCEPTIONTEST.notes[0] in results["notes"]
    assert "1 question, of 19140 that are published." in results["notes"]
    assert "Video-R1&#39;s training data" in (tmp_path / "out" / "page.html").read_text()


def test_equal_inputs_give_equal_files(tmp_path: Path) -> None:
    file = answers(tmp_path, "B", "A", "B")
    run(tmp_path, file, out="a")
    run(tmp_path, file, out="b")
    for name in ("scored.jsonl", "results.json", "page.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    statuses = Counter(row["status"] for row in jsonl.read(tmp_path / "a" / "scored.jsonl"))
    assert statuses == {"scored": 3, "missing": 2, "unusable": 1}
