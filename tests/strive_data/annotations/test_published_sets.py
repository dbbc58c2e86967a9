"""Published annotation files, whole."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from strive_data.annotations.read import read_annotations
from tests.strive_data.annotations.made_rows import lines, recipes, types, written


def test_real_questions(shared_data):
    rows = read_annotations([shared_data / "questions.jsonl"], shared_data)
    assert (len(rows.questions), rows.failures) == (26, ())
    assert rows.questions[0][1].evidence_spans == ((2.4, 3.0),)


def test_real_questions_with_bad_rows(shared_data):
    paths = [shared_data / "questions.jsonl", shared_data / "bad_rows.jsonl"]
    rows = read_annotations(paths, shared_data)
    # The unreadable video is the decoder's to find.
    assert [question.sample_id for _, question in rows.questions[26:]] == ["902"]
    assert [(failure.row, failure.sample_id, str(failure.kind)) for failure in rows.failures] == [
        (26, "901", "missing"),
        (28, "903", "bad_row"),
        (29, "", "bad_row"),
        (30, "905", "bad_row"),
        (31, "906", "bad_row"),
        (32, "1", "duplicate_id"),
        (33, "908", "outside_root"),
    ]


@pytest.mark.parametrize(
    ("name", "count"), [("vsibench", 5130), ("mmvu-mc", 625), ("videomme", 2700), ("videommmu", 900)]
)
def test_published_files_fail_for_nothing_but_their_videos(shared_data, name, count):
    path = shared_data / "benchmarks" / "video_r1_layout" / f"{name}.json"
    rows = read_annotations([path], shared_data)
    assert len(rows.failures) == count
    assert {str(failure.kind) for failure in rows.failures} == {"missing"}
    assert read_annotations([path], shared_data, check_files=False).failures == ()


TASKS = {"multi-choice": 1580, "yes_no": 2453, "caption_matching": 1503, "captioning": 2004}


def test_tempcompass_whole(shared_data):
    paths = [shared_data / "benchmarks" / "tempcompass" / f"{task}.json" for task in TASKS]
    rows = read_annotations(paths, shared_data, check_files=False)
    assert rows.failures == ()
    assert Counter(q.source.split("/")[1] for _, q in rows.questions) == TASKS
    assert types(rows) == {"multiple choice": 1580, "free-form": 7540 - 1580}
    assert len({question.video for _, question in rows.questions}) == 410
    assert len({question.sample_id for _, question in rows.questions}) == 7540
    assert recipes(rows) == ["tempcompass"] * 4


def test_tempcompass_answers_are_those_published(shared_data):
    """The letter and its option's text are the answer as the file writes it, on every row."""
    path = shared_data / "benchmarks" / "tempcompass" / "multi-choice.json"
    published = [
        each["answer"]
        for dimensions in json.loads(path.read_text()).values()
        for rows in dimensions.values()
        for each in rows
    ]
    read = [q for _, q in read_annotations([path], shared_data, check_files=False).questions]
    assert [next(o for o in q.options if o.startswith(q.answer)) for q in read] == published


def test_mmvu_whole(shared_data):
    path = shared_data / "benchmarks" / "mmvu" / "validation.json"
    rows = read_annotations([path], shared_data, check_files=False)
    assert (rows.failures, types(rows)) == ((), {"multiple choice": 625, "free-form": 375})
    assert recipes(rows) == ["mmvu"]
    # The same 625 questions in the Video-R1 layout, converted by others.
    other = shared_data / "benchmarks" / "video_r1_layout" / "mmvu-mc.json"
    converted = read_annotations([other], shared_data, check_files=False).questions
    chosen = [question for _, question in rows.questions if question.options]
    assert [(q.video, q.options, q.answer) for q in chosen] == [
        (q.video, q.options, q.answer) for _, q in converted
    ]


def test_videomme_whole_by_its_published_columns(shared_data):
    path = shared_data / "benchmarks" / "video_r1_layout" / "videomme.json"
    rows = read_annotations([path], shared_data, recipe="videomme", check_files=False)
    assert (rows.failures, types(rows)) == ((), {"multiple choice": 2700})
    durations = Counter(question.source.split("/")[1] for _, question in rows.questions)
    assert durations == {"short": 900, "medium": 900, "long": 900}
    converted = read_annotations([path], shared_data, check_files=False).questions
    assert [(q.video, q.options, q.answer) for _, q in rows.questions] == [
        (q.video, q.options, q.answer) for _, q in converted
    ]


def test_vsibench_whole(shared_data, tmp_path):
    path = shared_data / "benchmarks" / "video_r1_layout" / "vsibench.json"
    rows = read_annotations([path], shared_data, check_files=False)
    assert (rows.failures, types(rows)) == ((), {"regression": 2640, "multiple choice": 2490})
    # The published shape, made from these rows: same questions, read by the benchmark's own recipe.
    published = [as_vsibench(each) for each in json.loads(path.read_text())]
    other = written(tmp_path, lines(*published), "test.jsonl")
    again = read_annotations([other], tmp_path, check_files=False)
    assert recipes(again) == ["vsibench"]
    assert again.failures == ()
    assert [(q.video, q.answer, q.problem_type) for _, q in again.questions] == [
        (q.video, q.answer, q.problem_type) for _, q in rows.questions
    ]


def as_vsibench(converted):
    _, dataset, file = converted["path"].split("/")
    return {
        "id": converted["problem_id"],
        "dataset": dataset,
        "scene_name": file.removesuffix(".mp4"),
        "question_type": converted["original_question_type"],
        "question": converted["problem"],
        "options": converted["options"],
        "ground_truth": converted["solution"].removeprefix("<answer>").removesuffix("</answer>"),
    }


def test_videommmu_whole(shared_data):
    path = shared_data / "benchmarks" / "video_r1_layout" / "videommmu.json"
    rows = read_annotations([path], shared_data, check_files=False)
    assert (rows.failures, types(rows)) == ((), {"multiple choice": 882, "numerical": 18})
    videos = Counter(question.video for _, question in rows.questions)
    assert (len(videos), set(videos.values())) == (300, {3})
