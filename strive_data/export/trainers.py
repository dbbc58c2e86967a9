"""The columns that each trainer reads: parquet with the images inside, or ms-swift's `messages`.

    easyr1     problem, answer, images[]                EasyR1, verl/utils/dataset.py (RLHFDataset)
    verl       prompt[], images[], reward_model,        verl, verl/utils/dataset/rl_dataset.py and
               data_source, extra_info                  examples/data_preprocess/geo3k.py
    trl        prompt[], images[], solution             TRL, trl/data_utils.py (prepare_multimodal_messages);
                                                        reward functions get the other columns
    datasets   prompt, question, answer, images[] …     Hugging Face datasets: all that is known of a variant
    messages   messages[], images[], solution …         ms-swift, LLaMA-Factory: a line a row, images as files

A prompt that is one text has `<image>` for each frame; TRL's has the frames before its text, or, with time
stamps, parts of type text and image. Sources of the layouts of files:
https://huggingface.co/docs/datasets/repository_structure, /about_dataset_features;
https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from strive_data.config import ExportOptions
from strive_data.export.rows import ExportRow, prompt_text, question_text, time_stamps
from strive_data.schema import Table

KNOWN: Table = {
    "sample_id": pl.String,
    "variant": pl.String,
    "problem_type": pl.String,
    "options": pl.List(pl.String),
    "data_source": pl.String,
    "video": pl.String,
    "times": pl.List(pl.Float64),
}
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
PARTS = pl.List(pl.Struct({"type": pl.String, "text": pl.String}))
PARTED_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": PARTS}))
NO_SOURCE = "strive"


def known(row: ExportRow) -> dict[str, Any]:
    """What rewards and analyses may ask of a row, in every layout that has room for it."""
    question = row.question
    return {
        "sample_id": question.sample_id,
        "variant": row.variant,
        "problem_type": question.problem_type,
        "options": list(question.options),
        "data_source": question.source or NO_SOURCE,
        "video": question.video,
        "times": row.times.tolist(),
    }


def easyr1(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for EasyR1; returns the head of the card, as all of these."""
    columns: Table = {"problem": pl.String, "answer": pl.String, "images": IMAGES, **KNOWN}

    def made(row: ExportRow) -> Row:
        return {"problem": prompt_text(row, options), "answer": row.question.answer, **known(row)}

    return _write(folder, rows, columns, made)


def verl(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for verl."""
    about = KNOWN | {"split": pl.String, "index": pl.Int32, "question": pl.String, "answer": pl.String}
    columns: Table = {
        "data_source": pl.String,
        "prompt": MESSAGES,
        "images": IMAGES,
        "ability": pl.String,
        "reward_model": pl.Struct({"style": pl.String, "ground_truth": pl.String}),
        "extra_info": pl.Struct(about),
    }

    def made(row: ExportRow) -> Row:
        question = row.question
        more = {"split": "train", "index": row.number, "question": question.question}
        return {
            "data_source": question.source or NO_SOURCE,
            "prompt": [{"role": "user", "content": prompt_text(row, options)}],
            "ability": question.problem_type,
            "reward_model": {"style": "rule", "ground_truth": question.answer},
            "extra_info": known(row) | more | {"answer": question.answer},
        }

    return _write(folder, rows, columns, made)


def trl(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for TRL."""
    parted = options.time_stamps
    prompt = PARTED_MESSAGES if parted else MESSAGES
    columns: Table = {"prompt": prompt, "images": IMAGES, "solution": pl.String, **KNOWN}

    def made(row: ExportRow) -> Row:
        text = question_text(row.question, options)
        content = _parts(row, text) if parted else text
        prompt = [{"role": "user", "content": content}]
        return {"prompt": prompt, "solution": row.question.answer, **known(row)}

    return _write(folder, rows, columns, made)


def datasets(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write all that is known of each row, for Hugging Face datasets."""
    columns: Table = {
        **KNOWN,
        "prompt": pl.String,
        "question": pl.String,
        "answer": pl.String,
        "images": IMAGES,
        "scores": pl.List(pl.Float32),
        "candidates": pl.List(pl.Int32),
        "evidence_spans": pl.List(pl.List(pl.Float64)),
        "video_id": pl.String,
        "duration_seconds": pl.Float64,
    }

    def made(row: ExportRow) -> Row:
        question = row.question
        return {
            **known(row),
            "prompt": prompt_text(row, options),
            "question": question.question,
            "answer": question.answer,
            "scores": row.scores.tolist(),
            "candidates": row.indices.tolist(),
            "evidence_spans": [list(span) for span in question.evidence_spans],
            "video_id": row.info.video_id,
            "duration_seconds": row.info.duration_seconds,
        }

    return _write(folder, rows, columns, made)


def _parts(row: ExportRow, text: str) -> list[dict[str, str | None]]:
    """The content of a message: a stamp and an image for each frame, then the text."""
    parts = list[dict[str, str | None]]()
    for stamp in time_stamps(row):
        parts += [{"type": "text", "text": stamp}] if stamp else []
        parts.append({"type": "image", "text": None})
    return [*parts, {"type": "text", "text": text}]


def _write(folder: Path, rows: Iterable[ExportRow], columns: Table, made: Any) -> str:
    filled = (({**made(row), "images": images_of(row.jpegs)}, sum(map(len, row.jpegs))) for row in rows)
    write_parts(folder, filled, columns)
    return card_head(columns)


ROWS_FILE, IMAGES_FOLDER = "train.jsonl", "images"
# How LLaMA-Factory finds rows and images: https://github.com/hiyouga/LLaMA-Factory, data/README.md.
LLAMA_FACTORY = {
    "strive": {
        "file_name": ROWS_FILE,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
}


def messages(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows as JSON lines; a frame that several variants of a sample share is one file.

        {"messages": [{"role": "user", "content": "<image><image>\\nWhich …"},
                      {"role": "assistant", "content": "B"}],
         "images": ["images/…", "images/…"], "solution": "B", …}

    Image paths are relative to the folder, so that it can be moved: set ROOT_IMAGE_DIR to it (ms-swift), or
    `dataset_dir` (LLaMA-Factory, which reads dataset_info.json there). GRPO drops the assistant's turn and
    gives `solution` to its rewards. A column named `video` or `options` would be an input to ms-swift. There
    is no list column but `images` and `times`, since an empty list in the first rows has no type for readers
    of JSON lines: `answer_options` are JSON text.
    """
    with (folder / ROWS_FILE).open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(_line(row, options), option=orjson.OPT_APPEND_NEWLINE))
            _write_images(folder / IMAGES_FOLDER, row)
    (folder / "dataset_info.json").write_text(json.dumps(LLAMA_FACTORY, indent=1), encoding="utf-8")
    return ""


def _line(row: ExportRow, options: ExportOptions) -> dict[str, object]:
    question = row.question
    return {
        "messages": [
            {"role": "user", "content": prompt_text(row, options)},
            {"role": "assistant", "content": question.answer},
        ],
        "images": [f"{IMAGES_FOLDER}/{name}" for name in row.frame_names],
        "solution": question.answer,
        "problem_type": question.problem_type,
        "answer_options": json.dumps(question.options, ensure_ascii=False),
        "data_source": question.source or NO_SOURCE,
        "sample_id": question.sample_id,
        "variant": row.variant,
        "source_video": question.video,
        "times": row.times.tolist(),
    }


def _write_images(folder: Path, row: ExportRow) -> None:
    for name, jpeg in zip(row.frame_names, row.jpegs, strict=True):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg)


PART_BYTES = 128 << 20
"""Bytes of images after which a file ends."""
ROWS_A_GROUP = 64

IMAGE = pl.Struct({"bytes": pl.Binary, "path": pl.String})
IMAGES = pl.List(IMAGE)
VALUES = {pl.String: "string", pl.Float64: "float64", pl.Float32: "float32", pl.Int32: "int32"}

Row = Mapping[str, Any]


def images_of(jpegs: Iterable[bytes]) -> list[dict[str, bytes | None]]:
    """The cell of a column of type IMAGES: `datasets` gives it as pictures, other readers as the JPEGs."""
    return [{"bytes": jpeg, "path": None} for jpeg in jpegs]


def write_parts(folder: Path, rows: Iterable[tuple[Row, int]], columns: Table) -> None:
    """Write (row, bytes of its images) as parquet files of one split, named as a data set on the hub.

    Files are cut by size, so that memory does not grow with the build.
    """
    parts, held, size_bytes = list[Path](), list[Row](), 0
    (folder / "data").mkdir()

    def write() -> None:
        path = folder / "data" / f"part-{len(parts):05d}"
        table = pl.DataFrame(held, schema=columns)
        table.write_parquet(path, row_group_size=ROWS_A_GROUP, compression="uncompressed")
        parts.append(path)
        held.clear()

    for row, row_bytes in rows:
        held.append(row)
        size_bytes += row_bytes
        if size_bytes >= PART_BYTES:
            write()
            size_bytes = 0
    if held or not parts:
        write()
    for number, path in enumerate(parts):
        path.rename(path.with_name(f"train-{number:05d}-of-{len(parts):05d}.parquet"))


def card_head(columns: Table) -> str:
    """The head of README.md by which `datasets` finds files and types; JSON is YAML."""
    body = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
        "dataset_info": {"features": [_feature(name, kind) for name, kind in columns.items()]},
    }
    return f"---\n{json.dumps(body, indent=1)}\n---\n"


def _feature(name: str, kind: Any) -> dict[str, Any]:
    """A column as the head of a card describes it."""
    return {"name": name, **_typed(kind)}


def _typed(kind: Any) -> dict[str, Any]:
    if kind == IMAGE:
        return {"dtype": "image"}
    if isinstance(kind, pl.List):
        inner = _typed(kind.inner)
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    if isinstance(kind, pl.Struct):
        return {"struct": [_feature(member.name, member.dtype) for member in kind.fields]}
    return {"dtype": VALUES[kind]}
