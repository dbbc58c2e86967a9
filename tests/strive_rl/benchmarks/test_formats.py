"""Each format of predictions by its published layout: what is read of a row, and which rows are bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl.benchmarks.formats import FORMATS, of_sampler, read_predictions
from strive_rl.benchmarks.items import Benchmark
from strive_rl.benchmarks.predictions import Prediction, PredictionFile, Records
from strive_rl.benchmarks.rules.choices import VIDEOMME
from strive_rl.benchmarks.rules.numbers import VSIBENCH
from strive_rl.benchmarks.rules.open_answers import CUSTOM, MMVU
from strive_rl.benchmarks.scoring import scored

FORMS = {
    "strive": {"sample_id": "1", "output": "x"},
    "lmms-eval": {"doc": {"question": "Q"}, "resps": [["x"]]},
    "video-r1": {"results": [{"problem": "Q", "output": "x"}]},
    "videomme": [{"video_id": "1", "questions": [{"question": "Q", "response": "x"}]}],
    "mmvu": [{"id": "v_1", "choices": {}, "response": "x"}],
    "tempcompass": {"103": {"speed": [{"question": "Q", "prediction": "x"}]}},
}


def rows(*rows: dict[str, Any], path: str = "p.jsonl") -> Records:
    return Records(path=Path(path), rows=tuple((f"line {i}", row) for i, row in enumerate(rows)))


def read(name: str, records: Records, benchmark: Benchmark = CUSTOM) -> PredictionFile:
    return FORMATS[name].read(records, benchmark)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_reported_by_its_fields(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(FORMS[name]))
    found = read_predictions(path, CUSTOM)
    assert [p.output for p in found.predictions] == ["x"]
    assert read_predictions(path, CUSTOM, format_name=name).format == name


def test_a_folder_is_its_predictions_and_what_is_unknown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text(json.dumps(FORMS["strive"]))
    assert read_predictions(tmp_path, CUSTOM).format == "strive"
    with pytest.raises(SettingsError, match="did you mean 'video-r1'"):
        read_predictions(tmp_path, CUSTOM, format_name="video_r1")
    (tmp_path / "predictions.jsonl").write_text(json.dumps({"text": "x"}))
    with pytest.raises(UsageError, match="unknown format"):
        read_predictions(tmp_path, CUSTOM)
    (tmp_path / "predictions.jsonl").write_text(json.dumps(FORMS["video-r1"]))
    with pytest.raises(UsageError, match="--sampler"):
        read_predictions(tmp_path, CUSTOM, sampler="uniform")


OWN = {
    "sample_id": "q1",
    "sampler": "uniform",
    "output": "B",
    "question": "What?",
    "options": ["A. x", "B. y"],
    "answer": "B",
    "problem_type": "multiple choice",
    "video": "v.mp4",
    "tags": {"source": "mine"},
    "times": [0.5, 1.5],
}


def test_a_whole_line_of_our_own_holds_its_question_tags_and_frames() -> None:
    (one,) = read("strive", rows(OWN)).predictions
    assert (one.ids, one.output, one.item.question.answer) == (("q1",), "B", "B")
    assert (one.item.tags, one.frames) == ({"source": "mine"}, {"sampler": "uniform", "times": [0.5, 1.5]})


def test_a_bare_line_is_read_and_a_line_without_output_is_bad() -> None:
    file = read("strive", rows({"sample_id": 3, "output": "x"}, {"sample_id": "4"}))
    assert (file.predictions[0].ids, file.predictions[0].item) == (("3",), None)
    assert file.bad == ("line 1: sample_id or output is missing",)
    assert not FORMATS["strive"].fits(rows({"output": "x"}))


@pytest.mark.parametrize(
    ("given", "output", "outputs", "logprobs"),
    [
        # Regression: with one null only the first answer was read; with a whole number, no probability.
        ({"outputs": ["A", None, "B"]}, "A", ("A", "", "B"), ()),
        ({"outputs": ["A", "B"], "logprobs": [-2, -0.5]}, "A", ("A", "B"), (-2.0, -0.5)),
        ({"output": "B", "outputs": []}, "B", (), ()),
        # One a token, losses in their place (exp of which overflowed), too few: none is known.
        ({"output": "B", "logprobs": [-0.1, -9.0]}, "B", (), ()),
        ({"outputs": ["A", "B"], "logprobs": [1000.0, 0.1]}, "A", ("A", "B"), ()),
        ({"outputs": ["A", "B"], "logprobs": [-1.0]}, "A", ("A", "B"), ()),
        ({"outputs": ["A", "B"], "logprobs": [float("nan"), -1.0]}, "A", ("A", "B"), ()),
    ],
)
def test_lists_of_answers_and_their_log_probabilities(
    given: dict[str, Any], output: str, outputs: tuple[str, ...], logprobs: tuple[float, ...]
) -> None:
    line = rows({"sample_id": "q1"} | given)
    assert FORMATS["strive"].fits(line)
    (one,) = read("strive", line).predictions
    assert (one.output, one.outputs, one.logprobs) == (output, outputs, logprobs)


def test_a_list_of_anything_else_is_a_bad_row() -> None:
    bad = read("strive", rows({"sample_id": "q1", "outputs": ["A", 3]})).bad  # with an output that counts
    assert bad == ("line 0: outputs holds more than texts",)


def test_one_of_several_samplers_must_be_chosen() -> None:
    both = rows(OWN, OWN | {"sampler": "peaks", "output": "A"})
    with pytest.raises(UsageError, match=r"choose --sampler peaks \| uniform"):
        of_sampler(both, None)
    assert [row["output"] for _, row in of_sampler(both, "peaks").rows] == ["A"]
    with pytest.raises(UsageError, match="they are of peaks, uniform"):
        of_sampler(both, "topk")


def lmms(doc: dict[str, Any], name: str = "samples_x.jsonl", resps: object = (("B",),)) -> Records:
    listed = [list(r) for r in resps] if isinstance(resps, tuple) else resps
    return rows({"doc_id": 0, "doc": doc, "resps": listed}, path=name)


# A doc of each benchmark, its file where that matters, and what it tells.
DOCS: dict[str, tuple[dict[str, Any], str, dict[str, object]]] = {
    "videomme": (
        {"video_id": "001", "videoID": "fFjv", "question_id": "001-1", "options": ["A. x"]},
        "samples_x.jsonl",
        {"ids": ("001-1",), "video": "fFjv", "options": ("A. x",)},
    ),
    "perceptiontest": (
        {"video_name": "video_7", "question_id": "2", "options": ["x", "y"]},
        "samples_perceptiontest_val_mc.jsonl",
        {"ids": ("video_7-2",), "group": "", "options": ("A. x", "B. y")},
    ),
    "vsibench": (
        {"id": 12, "dataset": "scannet", "scene_name": "scene0_00", "options": None},
        "samples_x.jsonl",
        {"ids": ("12",), "video": "scene0_00", "options": ()},
    ),
    "mmvu": (
        {"id": "validation_1", "video_path": "videos/Art/0.mp4", "choices": {"A": "x", "B": ""}},
        "samples_x.jsonl",
        {"ids": ("validation_1",), "video": "videos/Art/0.mp4", "options": ("A. x",)},
    ),
    "tempcompass": (
        {"video_id": "103", "dim": "speed", "answer": "A. x"},
        "samples_tempcompass_mc.jsonl",
        {"video": "103", "group": "multi-choice", "ids": ()},
    ),
    "videommmu": (
        {"id": "new_Psychology_5", "options": ["x", "y"]},
        "20250101_samples_video_mmmu_adaptation.jsonl",
        {"ids": ("Adaptation-new_Psychology_5",), "group": "Adaptation", "video": "new_Psychology_5"},
    ),
}


@pytest.mark.parametrize("benchmark", DOCS)
def test_lmms_evals_docs_tell_id_video_and_question(benchmark: str) -> None:
    doc, file, expected = DOCS[benchmark]
    (one,) = read("lmms-eval", lmms(doc | {"question": "Q?"}, file)).predictions
    assert {name: getattr(one, name) for name in expected} == expected
    assert one.question == "Q?"


def test_responses_are_found_however_deep_and_their_lack_is_bad() -> None:
    doc = {"question": "Q?"}
    for resps in ([["x"], ["y"]], ["x"]):
        assert [p.output for p in read("lmms-eval", lmms(doc, resps=resps)).predictions] == ["x"]
    assert read("lmms-eval", lmms(doc, resps=[])).bad == ("line 0: no doc or no response",)
    logs = Records(path=Path("old.json"), tree={"logs": [{"doc": doc, "filtered_resps": ["z"]}]})
    assert FORMATS["lmms-eval"].fits(logs)
    assert [p.output for p in read("lmms-eval", logs).predictions] == ["z"]


@pytest.mark.parametrize("resps", [[["x", "y", "z"]], [["x"], ["y"], ["z"]]])
def test_every_response_of_lmms_eval_votes(tmp_path: Path, resps: list[list[str]]) -> None:
    """Regression: of repeated questions only the first response was read, and elected."""
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({"doc": {"question": "Q?"}, "resps": resps, "filtered_resps": ["y"]}) + "\n")
    for every, outputs in ((False, ()), (True, ("x", "y", "z"))):
        (one,) = read_predictions(file, VIDEOMME, all_answers=every).predictions
        assert (one.output, one.outputs) == ("x", outputs)


def rated(name: str, *rows: dict[str, Any]) -> Records:
    return Records(path=Path(name), tree={"103": {"speed": list(rows)}})


def test_tempcompass_predictions_and_ratings_are_read_alike() -> None:
    for field in ("prediction", "response", "video-llm-prediction"):
        (one,) = read("tempcompass", rated("model.yes_no.json", {"question": "Q?", field: "Yes"})).predictions
        assert (one.ids, one.video, one.question, one.output) == (("yes_no-103-speed-0",), "103", "Q?", "Yes")
    refused = read("tempcompass", rated("yes_no.json", {"question": "Q?", "prediction": None}))
    assert refused.predictions[0].output == ""
    assert not FORMATS["tempcompass"].fits(rated("x.json", {"question": "Q?"}))
    assert read("tempcompass", rated("x.json", {"question": "Q?"}, {"prediction": "a"})).bad != ()


@pytest.mark.parametrize(
    ("row", "judgement"),
    [
        ({"match_success": True, "rating": 1}, None),
        ({"match_success": False, "rating": 1}, 1.0),
        ({"match_success": False, "rating": 0}, 0.0),
        ({"rating": 1}, 1.0),
        ({"rating": -1}, None),
        ({}, None),
    ],
)
def test_a_rating_is_a_judgement_where_the_rules_did_not_match(
    row: dict[str, Any], judgement: float | None
) -> None:
    (one,) = read("tempcompass", rated("captioning.json", row | {"prediction": "a"})).predictions
    assert one.judgement == judgement


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


def test_mmvus_annotation_with_responses() -> None:
    file = read("mmvu", rows(CHOICE, OPEN, CHOICE | {"response": None}), MMVU)
    assert file.bad == ("line 2: no response",)
    choice, free = (one.item for one in file.predictions)
    assert choice.question.video == "videos/Art/1.mp4"
    assert (choice.question.options, choice.question.answer) == (("A. x", "B. y"), "B")
    assert (choice.tags["subject"], choice.tags["discipline"]) == ("Art", "Humanities and Social Science")
    assert (free.question.problem_type, free.question.answer) == ("free-form", "salt")


def test_mmvus_judged_outputs_carry_the_authors_verdict() -> None:
    judged = [
        {key: row[key] for key in ("id", "question", "choices", "response")}
        | {"ground_truth_answer": row["answer"], "extracted_answer": "B", "correct": True}
        for row in (CHOICE, OPEN)
    ]
    wrong, other = read("mmvu", rows(*judged), MMVU).predictions
    assert (wrong.judgement, other.judgement) == (1.0, 1.0)
    assert wrong.item is not None
    values = scored(MMVU, wrong.item, "A", wrong.judgement).values
    assert (values["official"], values["robust"]) == (1.0, 0.0)


VIDEO_R1_ROW = {
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


def test_video_r1s_results_hold_output_and_question() -> None:
    tree = {"results": [VIDEO_R1_ROW, {"problem": "Q"}], "final_acc": [{}]}
    file = read("video-r1", Records(path=Path("eval.json"), tree=tree), VSIBENCH)
    (one,) = file.predictions
    assert (one.output, one.ids, one.video) == ("<answer>5</answer>", ("3",), "./arkitscenes/41.mp4")
    assert (one.item.question.answer, one.item.tags["task"]) == ("4", "object_counting")
    assert file.bad == ("eval.json results[1]: no output",)


def test_video_r1s_rows_alone_do_as_well_and_a_bad_question_is_none() -> None:
    alone = rows(VIDEO_R1_ROW | {"solution": "four"})
    assert FORMATS["video-r1"].fits(alone)
    (one,) = read("video-r1", alone, VSIBENCH).predictions
    assert isinstance(one, Prediction)
    assert one.item is None
