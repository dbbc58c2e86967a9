"""The layouts of public training sets: a small file of each shape is read without a recipe's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from strive_data.annotations.read import read_annotations
from strive_data.annotations.recipes import own_table, packaged_recipes, recipe_that_fits
from tests.strive_data.annotations.made_rows import (
    EASYR1,
    IMAGE,
    STGR,
    VIDEO,
    llava,
    messages,
    read,
    verl,
)

MENU = "Who?\nOptions:\nA. Ann\nB. Bob"
CHOICE = ("Who?", "multiple choice", ("A. Ann", "B. Bob"), "B")
WORDS = ("Who?", "free-form", (), "a man")
NUMBER = ("How many?", "numerical", (), "3")
LETTER_ONLY = "Please respond with only the letter of the correct answer."
IN_FULL = "Please provide your answer by stating the letter followed by the full option."
SPAN = ("When does this happen in the video: a man walks", "temporal grounding", (), "1 to 2.5")
SPANS = (*SPAN[:3], "1 to 2.5; 4 to 5")
PARTS = [{"type": "video", "video": VIDEO}, {"type": "text", "text": "Who?"}]
IN, OF, PATH = {"videos": [VIDEO]}, {"video": VIDEO}, {"video_path": VIDEO}
MCQ = {"problem_type": "multiple choice"}
NAMED = {"options": ["A. Ann", "B. Bob"], "answer": "B"}
WALK, WINDOW, WINDOWS = "a man walks", [1.0, 2.5], [[1.0, 2.5], [4.0, 5.0]]
KR = IN | {"question": "Who?", "solution": "B"}


def text(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}]


# Each layout's recipe, and rows with what they are read as.
SHAPES: dict[str, tuple[str, list[tuple[Mapping[str, Any], tuple[object, ...]]]]] = {
    "easyr1": (
        "easyr1",
        [
            (EASYR1, WORDS),
            (EASYR1 | {"problem": f"<video>{MENU}", "answer": "B"}, CHOICE),
            (EASYR1 | {"problem": "<video>How many?", "answer": 3}, NUMBER),
            (EASYR1 | NAMED | MCQ, CHOICE),
            (EASYR1 | {"problem_type": "open-ended", "problem_id": 7}, WORDS),
            (EASYR1 | {"problem_type": "video qa", "data_type": "video"}, WORDS),
            (EASYR1 | {"problem_type": "math", "problem": "<video>How many?", "answer": "3"}, NUMBER),
            (EASYR1 | {"problem_type": "math"}, WORDS),
            (IN | {"prompt": "<video>Who?", "answer": "a man"}, WORDS),
        ],
    ),
    "LongVideo-Reason": ("easyr1", [({"problem": MENU, "answer": "B", "videos": VIDEO}, CHOICE)]),
    "verl": (
        "verl",
        [
            (verl("How many?", "3"), NUMBER),
            (verl(MENU, "<answer>B</answer>", **MCQ), CHOICE),
            (verl("Who?", "a man", problem_type="open-ended"), WORDS),
            # As VideoKR writes them: what to do follows the options.
            (verl(f"{MENU}\n\nThink.", "<answer>B</answer>", **MCQ), ("Who?\n\nThink.", *CHOICE[1:])),
        ],
    ),
    "messages": (
        "messages",
        [
            (IN | {"messages": messages("<video>Who?", "a man")}, WORDS),
            (IN | {"messages": messages(f"<video>{MENU}", "<think>…</think><answer>B</answer>")}, CHOICE),
            (IN | {"messages": messages("<video>How many?", "")[:1], "solution": "3"}, NUMBER),
            (IN | {"messages": messages([{"type": "video"}, *text("Who?")], text("a man"))}, WORDS),
            ({"messages": messages(PARTS, text("a man"))}, WORDS),
            (IN | {"messages": messages("<video>How many?", "\\boxed{3}")}, NUMBER),
            (IN | {"messages": messages("<video>Who?", "")[:1], "answer": "a man"}, WORDS),
        ],
    ),
    "LLaVA": (
        "conversations",
        [
            (OF | {"id": "x", "conversations": llava("<image>\nWho?", "a man")}, WORDS),
            (OF | {"id": "x", "conversations": llava(f"<image>\n{MENU}\n{LETTER_ONLY}", "B")}, CHOICE),
            (OF | {"id": "x", "conversations": llava(f"{MENU}\n{IN_FULL}", "B. Bob.")}, CHOICE),
        ],
    ),
    "ShareGPT": ("conversations", [(IN | {"conversations": llava("<video>Who?", "a man")}, WORDS)]),
    "VideoKR": (
        "videokr",
        [
            (KR | {"options": ["Ann", "Bob"], "solution": "<answer>B</answer>"}, CHOICE),
            (KR | {"question": "<video>Who?", "options": {"A": "Ann", "B": "Bob"}}, CHOICE),
            (KR | {"options": [], "solution": "a man"}, WORDS),
            (
                KR
                | {"options": {"A": "Ann", "B": "Bob", "C": None}, "videos": [OF]}
                | {"problem_type": "Multiple Choice"},
                CHOICE,
            ),
            (KR | {"options": "A. Ann\nB. Bob"}, CHOICE),
        ],
    ),
    "Open-o3": (
        "open-o3",
        [
            (STGR | {"task": "temporal-spatial free-form QA"}, WORDS),
            (STGR | {"task": "General video QA MCQ", "question": MENU, "answer": "B"}, CHOICE),
            (
                STGR | {"task": "temporal QA", "answer": "From <t>1.0</t>s to <t>2.5</t>s"},
                ("Who?", *SPAN[1:]),
            ),
        ],
    ),
    "Time-R1": (
        "temporal-grounding",
        [
            (OF | {"qid": "a|1", "sentence": WALK, "timestamp": WINDOW}, SPAN),
            (OF | {"description": WALK, "timestamps": WINDOW}, SPAN),
            (
                PATH
                | {"source": "cosmo_cap", "query": WALK, "span": WINDOWS}
                | {"answer": "The event happens in 1.0 - 2.5 seconds."},
                SPANS,
            ),
        ],
    ),
    "TimeLens-100K": (
        "timelens-100k",
        [
            (
                PATH | {"source": "cosmo_cap", "duration": 9.5, "events": [{"query": WALK, "span": WINDOWS}]},
                SPANS,
            )
        ],
    ),
    "QVHighlights": (
        "qvhighlights",
        [({"qid": 1, "query": WALK, "vid": "v/x", "relevant_windows": WINDOWS}, SPANS)],
    ),
    "TinyLLaVA-Video-R1": (
        "tinyllava-video-r1",
        [
            (
                {"problem": f"{MENU}\n{IN_FULL}", "solution": "<answer>B</answer>"}
                | {"video_filename": f"./{VIDEO}"},
                CHOICE,
            )
        ],
    ),
}


VERL = verl("Who?", "a man")
IMAGE_ROWS = {
    "easyr1": EASYR1 | {"videos": [], "images": [IMAGE], "data_type": "image"},
    "easyr1 without videos": {"images": [IMAGE], "problem": "<image>Who?", "answer": "a man"},
    "verl": VERL | {"videos": [], "images": [{"type": "image", "image": f"file://{IMAGE}"}]},
    "verl of paths": {name: VERL[name] for name in ("prompt", "reward_model")}
    | {"images": [{"path": IMAGE}]},
    "messages": {"messages": messages("<image>Who?", "a man"), "images": [IMAGE]},
    "LLaVA": {"image": IMAGE, "conversations": llava("<image>\nWho?", "a man")},
    "Video-R1": {"problem_id": 2, "path": IMAGE, "data_type": "image", "problem_type": "free-form"}
    | {"problem": "Who?", "solution": "<answer>a man</answer>"},
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
    for row, (asked, kind, options, answer) in cases:
        found, chosen = read(root, [row], suffix)
        assert not found.failures
        assert chosen == recipe
        ((_, question),) = found.questions
        assert question.video == VIDEO
        assert (question.question, question.problem_type) == (asked, kind)
        assert (question.options, question.answer) == (options, answer)


def test_no_layout_is_mistaken_for_another_or_for_a_table_of_ones_own() -> None:
    flat = [name for name, recipe in packaged_recipes().items() if not recipe.rows]
    for recipe, cases in SHAPES.values():
        for row, _ in cases if recipe in flat else []:
            assert recipe_that_fits(set(row), flat) == recipe
    for columns in ({"video", "problem", "answer"}, {"video_path", "question", "solution"}):
        assert recipe_that_fits(columns, flat) == ""
        assert own_table(columns, {}) is not None


def test_spans_by_video_are_rows(root: Path) -> None:
    """As TimeLens-Bench has them."""
    (root / "x.mp4").touch()
    body = {"x": {"duration": 9.0, "spans": [[1.0, 2.5], [4.0, 5.0]], "queries": ["a man walks", "a dog"]}}
    file = root / "charades-timelens.json"
    file.write_text(json.dumps(body))
    found = read_annotations([file], root)
    assert [(one.sample_id, one.video, one.answer) for _, one in found.questions] == [
        ("x-0", "x.mp4", "1 to 2.5"),
        ("x-1", "x.mp4", "4 to 5"),
    ]


SAID = [{"from": "system", "value": "Think."}, *llava("<image>\nWho?", "a man"), *llava("How many?", "Two.")]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_each_question_of_a_conversation_is_a_sample(root: Path, suffix: str) -> None:
    """LLaVA-Video-178K: open-ended questions on a video share a row, whose id is the video's."""
    one = {"id": "x", "conversations": llava("<image>\nWho?", "a man"), "video": VIDEO, "data_source": "s"}
    found, recipe = read(root, [one, one | {"conversations": SAID}], suffix)
    assert recipe == "conversations"
    assert [(q.sample_id, q.question, q.problem_type, q.answer, q.video) for _, q in found.questions] == [
        ("rows-0", "Who?", "free-form", "a man", VIDEO),
        ("rows-1-0", "Who?", "free-form", "a man", VIDEO),
        ("rows-1-1", "How many?", "numerical", "2", VIDEO),
    ]
    (reading,) = found.readings.values()
    assert "2 questions of conversations with several: each is a sample, without the" in reading.guesses[-1]


def test_one_turn_that_cannot_be_read_costs_no_other(root: Path) -> None:
    said = [
        *SAID,
        {"from": "human", "value": "And?"},
        *llava("Why?", "red"),
        {"from": "gpt", "value": "blue"},
    ]
    found, _ = read(root, [{"conversations": said, "video": VIDEO}, {"conversations": 3}])
    assert [q.sample_id for _, q in found.questions] == ["rows-0-0", "rows-0-1"]
    first, second, third = found.failures
    assert (first.sample_id, first.video, first.row) == ("rows-0-2", VIDEO, 2)
    assert first.message == "rows.jsonl line 1 turn 3: the answer in conversations is missing"
    assert "turn 4: got 2 entries of from 'gpt', expected one" in second.message
    assert third.row == 4
    with_options = {"conversations": SAID, "video": VIDEO, "options": ["a man", "Two."]}
    (failure,) = read(root, [with_options])[0].failures  # of which question they are nothing says
    assert "behind each question and no options beside them" in failure.message


def test_a_video_within_the_first_message_belongs_to_all_turns(root: Path) -> None:
    said = [*messages(PARTS, "a man"), *messages("And?", "a dog"), *messages([*PARTS[1:]], "a cat")]
    found, _ = read(root, [{"messages": said}])
    assert [(q.question, q.video) for _, q in found.questions] == [
        ("Who?", VIDEO),
        ("And?", VIDEO),
        ("Who?", VIDEO),
    ]
    (failure,) = read(root, [{"messages": [*said, *messages(PARTS, "a cat")]}])[0].failures
    assert "turn 4: got 2 entries of type 'video'" in failure.message


def test_a_question_in_a_column_of_its_own_goes_before_a_conversation(root: Path) -> None:
    recipe = root / "mine.toml"
    fields = 'id = "{@row}"\nvideo = "video"\nquestion = "ask | chat[role=user].content"\n'
    fields += 'answer = "chat[role=assistant].content"'
    recipe.write_text(f'title = "Mine"\n[fields]\n{fields}\n[problem_type]\notherwise = "free-form"\n')
    said = [*messages("Who?", "a man"), *messages("And?", "a dog")]
    rows = [{"video": VIDEO, "chat": said} | more for more in ({}, {"ask": "Who?"}, {"ask": ["Who?"]})]
    (root / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_annotations([root / "r.jsonl"], root, recipe=str(recipe))
    assert [(q.sample_id, q.question, q.answer) for _, q in found.questions] == [
        ("0-0", "Who?", "a man"),
        ("0-1", "And?", "a dog"),
    ]
    assert [failure.message.partition(": ")[2][:31] for failure in found.failures] == [
        "got 2 entries of role 'assistan"
    ] * 2
