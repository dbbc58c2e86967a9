"""The layouts of public training sets: a small file of each shape is read without a recipe's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from strive_data.annotations.read import Annotations, read_annotations
from strive_data.annotations.recipes import own_table, packaged_recipes, recipe_that_fits

VIDEO = "v/x.mp4"
MENU = "Who?\nOptions:\nA. Ann\nB. Bob"
CHOICE = ("Who?", "multiple choice", ("A. Ann", "B. Bob"), "B")
WORDS = ("Who?", "free-form", (), "a man")
NUMBER = ("How many?", "numerical", (), "3")
LETTER_ONLY = "Please respond with only the letter of the correct answer."
IN_FULL = "Please provide your answer by stating the letter followed by the full option."


def turns(
    question: object, answer: object, who: str, said: str, names: tuple[str, str]
) -> list[dict[str, object]]:
    return [{who: names[0], said: question}, {who: names[1], said: answer}]


def messages(question: object, answer: object) -> list[dict[str, object]]:
    return turns(question, answer, "role", "content", ("user", "assistant"))


def llava(question: object, answer: object) -> list[dict[str, object]]:
    return turns(question, answer, "from", "value", ("human", "gpt"))


def verl(question: str, answer: str, **extra: object) -> dict[str, object]:
    return {
        "prompt": [
            {"role": "system", "content": "Think."},
            {"role": "user", "content": f"<video>\n{question}"},
        ],
        "images": [],
        "videos": [{"type": "video", "video": f"file://{VIDEO}", "fps": 1, "max_frames": 140}],
        "data_source": "hopchain_vript",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": 0, "problem_type": None} | extra,
    }


EASYR1 = {"videos": [VIDEO], "images": [], "problem": "<video>Who?", "answer": "a man"}
STGR = {"source": "STR_plm", "video_path": VIDEO, "question": "Who?", "answer": "a man", "key_frames": []}
SHAPES: dict[str, tuple[str, list[tuple[Mapping[str, Any], tuple[object, ...]]]]] = {
    "easyr1": (
        "easyr1",
        [
            (EASYR1, WORDS),
            (EASYR1 | {"problem": f"<video>{MENU}", "answer": "B"}, CHOICE),
            (EASYR1 | {"problem": "<video>How many?", "answer": 3}, NUMBER),
            (
                EASYR1 | {"options": ["A. Ann", "B. Bob"], "answer": "B", "problem_type": "multiple choice"},
                CHOICE,
            ),
            (EASYR1 | {"problem_type": "open-ended", "problem_id": 7}, WORDS),
            (EASYR1 | {"problem_type": "video qa", "data_type": "video"}, WORDS),
            (EASYR1 | {"problem_type": "math", "problem": "<video>How many?", "answer": "3"}, NUMBER),
            (EASYR1 | {"problem_type": "math"}, WORDS),
            ({"prompt": "<video>Who?", "answer": "a man", "videos": [VIDEO]}, WORDS),
        ],
    ),
    "LongVideo-Reason": ("easyr1", [({"problem": MENU, "answer": "B", "videos": VIDEO}, CHOICE)]),
    "verl": (
        "verl",
        [
            (verl("How many?", "3"), NUMBER),
            (verl(MENU, "<answer>B</answer>", problem_type="multiple choice"), CHOICE),
            (verl("Who?", "a man", problem_type="open-ended"), WORDS),
        ],
    ),
    "messages": (
        "messages",
        [
            ({"messages": messages("<video>Who?", "a man"), "videos": [VIDEO]}, WORDS),
            (
                {
                    "messages": messages(f"<video>{MENU}", "<think>…</think><answer>B</answer>"),
                    "videos": [VIDEO],
                },
                CHOICE,
            ),
            (
                {
                    "messages": [{"role": "user", "content": "<video>How many?"}],
                    "videos": [VIDEO],
                    "solution": "3",
                },
                NUMBER,
            ),
            (
                {
                    "messages": messages(
                        [{"type": "video"}, {"type": "text", "text": "Who?"}],
                        [{"type": "text", "text": "a man"}],
                    ),
                    "videos": [VIDEO],
                },
                WORDS,
            ),
        ],
    ),
    "LLaVA": (
        "conversations",
        [
            ({"id": "x", "conversations": llava("<image>\nWho?", "a man"), "video": VIDEO}, WORDS),
            (
                {"id": "x", "conversations": llava(f"<image>\n{MENU}\n{LETTER_ONLY}", "B"), "video": VIDEO},
                CHOICE,
            ),
            ({"id": "x", "conversations": llava(f"{MENU}\n{IN_FULL}", "B. Bob."), "video": VIDEO}, CHOICE),
        ],
    ),
    "ShareGPT": (
        "conversations",
        [({"conversations": llava("<video>Who?", "a man"), "videos": [VIDEO]}, WORDS)],
    ),
    "VideoKR": (
        "videokr",
        [
            (
                {
                    "question": "Who?",
                    "options": ["Ann", "Bob"],
                    "solution": "<answer>B</answer>",
                    "videos": [VIDEO],
                },
                CHOICE,
            ),
            (
                {
                    "question": "<video>Who?",
                    "options": {"A": "Ann", "B": "Bob"},
                    "solution": "B",
                    "videos": [VIDEO],
                },
                CHOICE,
            ),
            ({"question": "Who?", "options": [], "solution": "a man", "videos": [VIDEO]}, WORDS),
            (
                {
                    "question": "Who?",
                    "options": {"A": "Ann", "B": "Bob", "C": None},
                    "solution": "B",
                    "videos": [{"video": VIDEO}],
                    "problem_type": "Multiple Choice",
                },
                CHOICE,
            ),
            (
                {"question": "Who?", "options": "A. Ann\nB. Bob", "solution": "B", "videos": [VIDEO]},
                CHOICE,
            ),
        ],
    ),
    "Open-o3": (
        "open-o3",
        [
            (STGR | {"task": "temporal-spatial free-form QA"}, WORDS),
            (STGR | {"task": "General video QA MCQ", "question": MENU, "answer": "B"}, CHOICE),
        ],
    ),
    "TinyLLaVA-Video-R1": (
        "tinyllava-video-r1",
        [
            (
                {
                    "problem": f"{MENU}\n{IN_FULL}",
                    "solution": "<answer>B</answer>",
                    "video_filename": f"./{VIDEO}",
                },
                CHOICE,
            )
        ],
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    (tmp_path / VIDEO).touch()
    return tmp_path


def read(root: Path, rows: list[Mapping[str, Any]], suffix: str = ".jsonl") -> tuple[Annotations, str]:
    file = root / f"rows{suffix}"
    if suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_annotations([file], root)
    return found, found.readings[file.as_posix()].recipe


IMAGE = "a.PNG"
VERL = verl("Who?", "a man")
IMAGE_ROWS = {
    "easyr1": EASYR1 | {"videos": [], "images": [IMAGE], "data_type": "image"},
    "easyr1 without videos": {"images": [IMAGE], "problem": "<image>Who?", "answer": "a man"},
    "verl": VERL | {"videos": [], "images": [{"type": "image", "image": f"file://{IMAGE}"}]},
    "verl of paths": {name: VERL[name] for name in ("prompt", "reward_model")}
    | {"images": [{"path": IMAGE}]},
    "messages": {"messages": messages("<image>Who?", "a man"), "images": [IMAGE]},
    "LLaVA": {"image": IMAGE, "conversations": llava("<image>\nWho?", "a man")},
    "Video-R1": {
        "problem_id": 2,
        "path": IMAGE,
        "data_type": "image",
        "problem": "Who?",
        "solution": "<answer>a man</answer>",
        "problem_type": "free-form",
    },
    "own table": {"image_path": IMAGE, "question": "Who?", "answer": "a man"},
    "own table of both": {"video": None, "image": IMAGE, "question": "Who?", "answer": "a man"},
}


@pytest.mark.parametrize("name", IMAGE_ROWS)
def test_image_rows(root: Path, name: str) -> None:
    (root / IMAGE).touch()
    found, _ = read(root, [IMAGE_ROWS[name]])
    assert not found.failures
    ((_, question),) = found.questions
    assert (question.video, question.question.strip(), question.answer) == (IMAGE, "Who?", "a man")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", SHAPES)
def test_each_published_shape(root: Path, name: str, suffix: str) -> None:
    recipe, cases = SHAPES[name]
    for row, (text, kind, options, answer) in cases:
        found, chosen = read(root, [row], suffix)
        assert not found.failures
        assert chosen == recipe
        ((_, question),) = found.questions
        assert question.video == VIDEO
        assert (question.question, question.problem_type) == (text, kind)
        assert (question.options, question.answer) == (options, answer)


def test_no_layout_is_mistaken_for_another_or_for_a_table_of_ones_own() -> None:
    flat = [name for name, recipe in packaged_recipes().items() if not recipe.rows]
    for recipe, cases in SHAPES.values():
        for row, _ in cases:
            assert recipe_that_fits(set(row), flat) == recipe
    for columns in ({"video", "problem", "answer"}, {"video_path", "question", "solution"}):
        assert recipe_that_fits(columns, flat) == ""
        assert own_table(columns, {}) is not None


def test_key_frames_are_spans_of_a_second_on_both_sides(root: Path) -> None:
    frames = [{"time": 0.5, "path": "a.jpg"}, {"time": 7, "path": "b.jpg"}]
    row = STGR | {"task": "temporal-spatial free-form QA", "key_frames": frames}
    assert read(root, [row])[0].questions[0][1].evidence_spans == ((0.0, 1.5), (6.0, 8.0))
    for bad in ([{"path": "a.jpg"}], [{"time": -1}], [{"time": "1"}], 5):
        (failure,) = read(root, [STGR | {"task": "General video QA Free-form", "key_frames": bad}])[
            0
        ].failures
        assert "key_frames: got" in failure.message


TWICE = [*messages("Who?", "a man"), *messages("And?", "a dog")]


@pytest.mark.parametrize(
    ("row", "mentions"),
    [
        (EASYR1 | {"videos": [VIDEO, VIDEO]}, "videos: got 2 videos"),
        (EASYR1 | {"videos": []}, "got []"),
        (EASYR1 | {"videos": [["a.jpg", "b.jpg"]]}, "['a.jpg', 'b.jpg']"),
        (EASYR1 | {"problem_type": "temporal grounding"}, "'temporal grounding'"),
        (EASYR1 | {"problem_type": "multiple choice", "answer": "B"}, "options"),
        (EASYR1 | {"data_type": "image"}, "data_type: got 'image'"),
        (EASYR1 | {"videos": [], "images": ["a.jpg", "b.jpg"]}, "images: got 2 images"),
        (EASYR1 | {"images": ["a.jpg"]}, "got a video and an image"),
        (EASYR1 | {"videos": [], "images": [VIDEO]}, "data_type: got 'image', but 'v/x.mp4' names a video"),
        ({"messages": TWICE, "videos": [VIDEO]}, "2 entries of role 'user'"),
        ({"messages": [], "videos": [VIDEO]}, "content is missing"),
        (STGR | {"task": "temporal QA", "answer": "[1, 2]"}, "task: got 'temporal QA'"),
    ],
)
def test_a_row_that_no_rule_reads_is_a_failure(root: Path, row: Mapping[str, Any], mentions: str) -> None:
    found, _ = read(root, [row])
    assert not found.questions
    assert found.failures[0].kind == "bad_row"
    assert mentions in found.failures[0].message
