"""Benchmarks of letters: their published layouts, and their authors' rules on outputs worked by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from strive_rl.benchmarks.formats import read_predictions
from strive_rl.benchmarks.items import Item, find_annotations, read_items
from strive_rl.benchmarks.predictions import join
from strive_rl.benchmarks.rules import find_benchmark
from strive_rl.benchmarks.rules.choices import PERCEPTIONTEST, VIDEOMME, videomme_score
from strive_rl.benchmarks.scoring import scored, summarise
from strive_rl.benchmarks.verdicts import UNCHECKED
from tests.strive_rl.benchmarks.made_items import choice_item


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "videomme.json"], VIDEOMME)
    assert items.rows == len(items.items) == VIDEOMME.published == 2700
    assert len({one.question.video for one in items.items}) == 900
    counted = {name: Counter(one.tags[name] for one in items.items) for name in VIDEOMME.breakdowns[:4]}
    assert counted["duration"] == {"short": 900, "medium": 900, "long": 900}
    assert counted["domain"]["Knowledge"] == 810
    assert (len(counted["task type"]), len(counted["sub-category"])) == (12, 30)


READ_BY_VIDEOMME = {
    "B": ("B", "Because it is red", "Best answer: B", "Option: B"),
    "C": (" The best answer is C.", "Answer: C"),
    "D": ("The answer D",),
    "A": ("The best option is A",),
    None: ("Answer: none", "b", "It is red.", ""),
}


@pytest.mark.parametrize("letter", READ_BY_VIDEOMME)
def test_official_is_the_first_capital_letter(letter: str | None) -> None:
    for output in READ_BY_VIDEOMME[letter]:
        assert videomme_score(output, choice_item("B")).extracted == letter, output


def test_official_leaves_out_what_it_cannot_read_and_robust_counts_it_wrong() -> None:
    row = scored(VIDEOMME, choice_item("B"), "It is red.")
    assert (row.values, row.left_out) == ({"robust": 0.0, "video_r1": 0.0}, ("official",))
    assert scored(VIDEOMME, choice_item("B"), None).values["official"] == 0.0  # missing, not unreadable
    rows = [row, scored(VIDEOMME, choice_item("B"), "B")]
    summary = summarise(VIDEOMME, rows, missing="wrong", resamples=9, seed=0)
    assert summary["left_out"] == {"official": 1}
    assert [summary["overall"][name]["mean"] for name in ("official", "robust")] == [1, 0.5]


@pytest.mark.parametrize("annotated", [False, True])
def test_the_authors_totals_of_a_real_model_are_reproduced(shared_data: Path, annotated: bool) -> None:
    folder = shared_data / "benchmarks"
    read = read_predictions(folder / "videomme_outputs" / "minicpm-o.official_layout.json", VIDEOMME)
    assert (read.format, read.bad) == ("videomme", ())
    held = [p.item for p in read.predictions if p.item is not None]
    items = read_items([folder / "video_r1_layout" / "videomme.json"], VIDEOMME).items if annotated else held
    joined = join(items, read.predictions)
    assert (len(joined.predictions), joined.unknown) == (2700, ())
    rows = [scored(VIDEOMME, one, joined.predictions[one.question.sample_id].output) for one in items]
    summary = summarise(VIDEOMME, rows, missing="wrong", resamples=9, seed=0)
    durations = summary["by"]["duration"]
    means = [summary["overall"], durations["short"], durations["medium"], durations["long"]]
    assert [f"{100 * part['official']['mean']:.1f}" for part in means] == ["68.5", "79.8", "68.4", "57.3"]
    assert len(summary["by"]["duration × domain"]) == 18


def test_right_is_the_index_and_tags_are_the_authors(tmp_path: Path) -> None:
    row = {"video_name": "video_1", "question_id": 4, "question": "What moves?", "answer_id": 1}
    row |= {"options": ["a cup", "a ball", "nothing"], "area": "physics", "reasoning": "descriptive"}
    row |= {"tag": ["motion", "sequencing", "other"]}
    file = tmp_path / "validation.json"
    file.write_text(json.dumps([row, row | {"question_id": 5, "answer_id": "7"}]))
    items = read_items([file], PERCEPTIONTEST)
    assert items.items[0].tags == {
        "area": "memory | physics",  # those of its tags, as the authors count it, not the row's own
        "reasoning": "descriptive",
        "tag": "motion | sequencing | other",
    }
    rows = [scored(PERCEPTIONTEST, items.items[0], output) for output in ("B", "a ball", "A", "1", "2")]
    assert [row.values["official"] for row in rows] == [1, 1, 0, 1, 0]
    assert [row.values["robust"] for row in rows] == [1, 1, 0, 0, 0]
    by = summarise(PERCEPTIONTEST, rows, missing="wrong", resamples=9, seed=0)["by"]["tag"]
    assert {tag: part["official"]["questions"] for tag, part in by.items()} == dict.fromkeys(row["tag"], 5)
    assert [row.tags["area"] for row in items.unusable] == ["memory | physics"]


def test_it_says_that_its_training_videos_are_trained_on() -> None:
    assert any("Video-R1's training data" in note for note in PERCEPTIONTEST.notes)
    assert PERCEPTIONTEST.published == 19140


NAMES = ("mvbench", "longvideobench", "mlvu", "lvbench", "video-holmes", "next-gqa")
FRUIT = ["apple", "pear", "plum", "fig"]
LVBENCH_LINE = {
    "key": "Cm73ma6Ibcs",
    "type": "cartoon",
    "video_info": {"duration_minutes": 70.2, "fps": 25.0, "resolution": {"width": 640, "height": 360}},
    "qa": [
        {
            "uid": "1602",
            "question": "What year appears?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633",
            "answer": "D",
            "question_type": ["key information retrieval", "reasoning"],
            "time_reference": "00:15-00:19",
        },
        {
            "uid": "1603",
            "question": "Who?\n(A) Ann\n(B) Bob\n(C) Cy\n(D) Di",
            "answer": "A",
            "question_type": ["entity recognition"],
            "time_reference": "",
        },
    ],
}
HOLMES = {
    "video ID": "RSmjqss0XKQ",
    "Question ID": 1,
    "Question Type": "SR",
    "Question": "How are they related?",
    "Options": {letter: f"way {letter}" for letter in "ABCDEF"},
    "Answer": "E",
    "Explanation": "Both wear uniforms.",
}
LONG = {
    "video_id": "86CxyhFV9MI",
    "question": "Which fruit?",
    "question_wo_referring_query": "Which fruit?",
    "candidates": [*FRUIT, "grape"],
    "correct_choice": 4,
    "topic_category": "NP-News-Programs",
    "question_category": "T2E",
    "level": "L1-Perception",
    "id": "86CxyhFV9MI_0",
    "video_path": "86CxyhFV9MI.mp4",
    "subtitle_path": "86CxyhFV9MI_en.json",
    "duration_group": 600,
    "starting_timestamp_for_subtitles": 0,
    "duration": 190.16,
}
CHOICE = {"video": "ZS9XR.mp4", "question": "Which fruit?", "candidates": FRUIT, "answer": "plum"}
CSV = "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
FILES: dict[str, tuple[tuple[str, object], ...]] = {
    "mvbench": (
        ("json/action_sequence.json", [CHOICE | {"start": 1.5, "end": 9.0}, CHOICE | {"answer": "kiwi"}]),
        ("json/character_order.json", [CHOICE | {"candidates": ["B", "A", "C"], "answer": "A"}]),
    ),
    "longvideobench": (("lvb_val.json", [LONG]),),
    "mlvu": (
        ("json/2_needle.json", [CHOICE | {"duration": 467.98, "question_type": "findNeedle"}]),
        ("json/4_count.json", [CHOICE | {"duration": 9, "question_type": "count"}]),
    ),
    "lvbench": (("video_info.meta.jsonl", LVBENCH_LINE),),
    "video-holmes": (("test_Video-Holmes.json", [HOLMES]),),
    "next-gqa": (
        ("test.csv", CSV + "25743,719,320,240,what then,lay down,8,TP,clap,sit,lay down,run,crawl\n"),
    ),
}
READ: dict[str, list[tuple[str, str, str, dict[str, str]]]] = {
    "mvbench": [
        ("action_sequence-0", "video/star/Charades_segment/ZS9XR.mp4", "C", {"task": "action_sequence"}),
        ("character_order-0", "video/perception/videos/ZS9XR.mp4", "B", {"task": "character_order"}),
    ],
    "longvideobench": [
        (
            "86CxyhFV9MI_0",
            "videos/86CxyhFV9MI.mp4",
            "E",
            {
                "duration": "3-10 min",
                "question category": "T2E",
                "level": "L1-Perception",
                "topic": "NP-News-Programs",
                "duration × question category": "3-10 min × T2E",
            },
        )
    ],
    "mlvu": [
        ("2_needle-0", "video/2_needle/ZS9XR.mp4", "C", {"task": "needle"}),
        ("4_count-0", "video/4_count/ZS9XR.mp4", "C", {"task": "count"}),
    ],
    "lvbench": [
        (uid, "videos/Cm73ma6Ibcs.mp4", answer, {"question type": kind, "video type": "cartoon"})
        for uid, answer, kind in (
            ("1602", "D", "key information retrieval | reasoning"),
            ("1603", "A", "entity recognition"),
        )
    ],
    "video-holmes": [("RSmjqss0XKQ-1", "videos/RSmjqss0XKQ.mp4", "E", {"question type": "SR"})],
    "next-gqa": [
        ("25743-8", "videos/25743.mp4", "C", {"group": "temporal", "question type": "TN (before, after)"})
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_the_published_layout_is_found_and_read(tmp_path: Path, name: str) -> None:
    for path, content in FILES[name]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content if isinstance(content, str) else json.dumps(content) + "\n")
    benchmark = find_benchmark(name)
    items = read_items(find_annotations(benchmark, tmp_path), benchmark)
    read = [(i.question.sample_id, i.question.video, i.question.answer, dict(i.tags)) for i in items.items]
    assert read == READ[name]
    bad = [one.message for one in items.unusable]
    assert [("'kiwi'" in message, "text of no option" in message) for message in bad] == (
        [(True, True)] if name == "mvbench" else []
    )


def test_longvideobenchs_parquet_has_a_column_for_each_option(tmp_path: Path) -> None:
    row = {name: value for name, value in LONG.items() if name != "candidates"} | {"correct_choice": 1}
    options = {f"option{number}": text for number, text in enumerate([*FRUIT[:3], "N/A", "N/A"])}
    pl.DataFrame([row | options]).write_parquet(tmp_path / "validation-00000-of-00001.parquet")
    benchmark = find_benchmark("longvideobench")
    (item,) = read_items(find_annotations(benchmark, tmp_path), benchmark).items
    assert item.question.options == ("A. apple", "B. pear", "C. plum")
    assert (item.question.answer, item.tags["duration"]) == ("B", "3-10 min")


def test_lvbench_options_leave_the_question(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(LVBENCH_LINE)}\n" + '{"key": "x", "qa": 3}\n')
    items = read_items([tmp_path / "a.jsonl"], find_benchmark("lvbench"))
    first = items.items[0].question
    assert (first.question, first.options[1]) == ("What year appears?", "B. 1366")
    assert ["expected a list of rows" in one.message for one in items.unusable] == [True]


def item_of(answer: str, options: tuple[str, ...] = ("A. apple", "B. pear", "C. plum", "D. fig")) -> Item:
    return choice_item(answer, options, task="count")


# By the authors' code right, wrong, and worth a guess, where B is the truth.
OUTPUTS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "mvbench": (
        [
            "(B) pear",
            "b. pear",
            "",
            "b)pear",
            " \nB.\nThe pear is green.",
            "<think>x</think><answer>B</answer>",
        ],
        [")", "pear", "The answer is B"],
        [],
    ),
    "longvideobench": (["The best answer is B."], ["An answer: B"], ["pear", ""]),
    "mlvu": (["B) pear", "(B) pear", "B", " B\n"], ["B.", ")"], []),
    "lvbench": (["(B) pear", "B) pear (A)", "I say (B)", "Bear"], ["b", ""], []),
    "video-holmes": (
        ["<answer>A: x</answer> no, <answer> B: pear </answer>", "<answer>B</answer>", "Because of the pear"],
        ["B, since A was late", "pear"],
        [],
    ),
    "next-gqa": (["pear", "The answer is (B)."], ["plum"], []),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_official_is_what_the_authors_code_gives(name: str) -> None:
    for outputs, value in zip(OUTPUTS[name], (1, 0, 0.25), strict=True):
        for output in outputs:
            row = scored(find_benchmark(name), item_of("B"), output)
            assert row.values["official"] == value, output


def test_robust_reads_what_those_rules_miss_and_no_more() -> None:
    for name in NAMES:
        benchmark = find_benchmark(name)
        for output, value in (("I think it's B.", 1.0), ("", 0.0), ("A or B", 0.0)):
            assert scored(benchmark, item_of("B"), output).values["robust"] == value


@pytest.mark.parametrize("name", NAMES)
def test_the_result_says_that_the_rule_is_unchecked(name: str) -> None:
    assert UNCHECKED in find_benchmark(name).notes


def test_mlvu_is_a_mean_over_tasks() -> None:
    benchmark = find_benchmark("mlvu")
    outputs: list[tuple[str, str]] = [("count", "B"), ("count", "A"), ("count", "A"), ("ego", "B")]
    rows: list[Any] = []
    for number, (task, output) in enumerate(outputs):
        one = choice_item("B", ("A. apple", "B. pear"), task=task, name=f"q{number}")
        rows.append(scored(benchmark, one, output))
    summary = summarise(benchmark, rows, missing="wrong", resamples=9, seed=0)
    for convention in ("official", "robust"):
        assert summary["overall"][convention]["mean"] == pytest.approx((1 / 3 + 1) / 2)
    assert summary["by"]["task"]["count"]["official"]["mean"] == pytest.approx(1 / 3)
