"""The columns that each trainer reads, all in parquet with the images inside.

    easyr1     problem, answer, images[]                EasyR1, verl/utils/dataset.py (RLHFDataset)
    verl       prompt[], images[], reward_model,        verl, verl/utils/dataset/rl_dataset.py and
               data_source, extra_info                  examples/data_preprocess/geo3k.py
    trl        prompt[], images[], solution             TRL, trl/data_utils.py (prepare_multimodal_messages);
                                                        reward functions get the other columns
    datasets   question, answer, images[], times[] …    Hugging Face datasets: all that is known of a variant

A prompt that is one text has `<image>` for each frame; TRL's has the frames before its text, or, with time
stamps, parts of type text and image.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.export.parquet import IMAGES, Row, card_head, images_of, write_parts
from strive_data.export.rows import ExportOptions, ExportRow, prompt_text, question_text, time_stamps
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
