"""ms-swift's `messages`, which LLaMA-Factory reads too: a line a row, images as files beside it.

    {"messages": [{"role": "user", "content": "<image><image>\\nWhich …"},
                  {"role": "assistant", "content": "B"}],
     "images": ["images/…", "images/…"], "solution": "B", …}

Image paths are relative to the folder, so that it can be moved: set ROOT_IMAGE_DIR to it (ms-swift), or
`media_dir` (LLaMA-Factory). GRPO drops the assistant's turn and gives `solution` to its rewards. There is no
list column but `images` and `times`: an empty list in the first rows has no type for readers of JSON lines.

Source: https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from strive_data.export.rows import ExportOptions, ExportRow, prompt_text
from strive_data.export.trainers import NO_SOURCE

ROWS_FILE, IMAGES_FOLDER = "train.jsonl", "images"


def messages(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows; a frame that several variants of a sample share is one file."""
    with (folder / ROWS_FILE).open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(_line(row, options), option=orjson.OPT_APPEND_NEWLINE))
            _write_images(folder / IMAGES_FOLDER, row)
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
        "data_source": question.source or NO_SOURCE,
        "sample_id": question.sample_id,
        "variant": row.variant,
        "video": question.video,
        "times": row.times.tolist(),
    }


def _write_images(folder: Path, row: ExportRow) -> None:
    for name, jpeg in zip(row.frame_names, row.jpegs, strict=True):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg)
