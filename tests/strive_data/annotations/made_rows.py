"""Rows and files of annotations, as tests write them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from strive_data.annotations.read import Annotations, read_annotations

VIDEO = "v/x.mp4"
# Any value of a field, NaN and surrogates among them.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


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
VIRL = {"qid": "q", "question": "<image>Who?", "answer": "\\boxed{a man}"}
STGR = {"source": "STR_plm", "video_path": VIDEO, "question": "Who?", "answer": "a man", "key_frames": []}


def read(root: Path, rows: list[Mapping[str, Any]], suffix: str = ".jsonl") -> tuple[Annotations, str]:
    file = root / f"rows{suffix}"
    if suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_annotations([file], root)
    return found, found.readings[file.as_posix()].recipe


IMAGE = "a.PNG"


def written(root, body, name="rows.jsonl"):
    path = root / name
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return path


def lines(*rows):
    return "\n".join(json.dumps(each) for each in rows)


def types(rows):
    return dict(Counter(question.problem_type for _, question in rows.questions))


def recipes(rows):
    return [reading.recipe for reading in rows.readings.values()]
