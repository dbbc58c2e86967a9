"""What is exported, a row for each wanted variant of each sample; and the columns that each trainer reads.

A trainer reads parquet with the images inside, or ms-swift's `messages`.

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
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from strive_data.build.progress import Observe
from strive_data.config import ALL_VARIANTS, UNIFORM, ExportOptions
from strive_data.errors import UsageError
from strive_data.schema import Floats, Indices, Question, Sample, Table, Times, VideoInfo
from strive_data.shards.reader import ShardSet

PLACEHOLDER = "<image>"
"""The place of an image in a prompt, for the tools whose prompts are one text."""
PLACEHOLDERS = re.compile("<image>|<video>|<audio>")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportRow:
    """One variant of a sample: `number` counts rows from 0, `variant` is its number or "uniform".

    indices int32 [K] (candidates), times float64 [K] seconds, scores float32 [K], JPEGs as they are stored.
    """

    number: int
    variant: str
    question: Question
    info: VideoInfo
    key: str
    indices: Indices
    times: Times
    scores: Floats
    jpegs: tuple[bytes, ...]

    @property
    def frame_names(self) -> list[str]:
        """A name for the file of each frame, the same in every variant that has it."""
        return [f"{self.key}/{candidate:06d}.jpg" for candidate in self.indices.tolist()]


def export_rows(
    shards: ShardSet, options: ExportOptions, observe: Observe | None = None
) -> Iterator[ExportRow]:
    """The rows in the order of the build; each sample is read once.

    Raises UsageError for a variant that a sample does not have, DamagedError as `ShardSet.read`.
    """
    ends, number, size_bytes = [*accumulate(shards.blocks)], 0, 0
    for position in range(len(shards)):
        sample = shards.read(position)
        for variant, indices in chosen_variants(sample, options.variants):
            yield ExportRow(
                number=number,
                variant=variant,
                question=sample.meta.question,
                info=sample.meta.info,
                key=sample.key,
                indices=indices,
                times=sample.times[indices],
                scores=sample.scores[indices],
                jpegs=tuple(sample.jpegs_of(indices)),
            )
            number += 1
        size_bytes += sum(map(len, sample.jpegs))
        if observe:
            observe(sum(end <= position + 1 for end in ends), len(ends), size_bytes)


def chosen_variants(sample: Sample, wanted: tuple[str, ...]) -> Iterator[tuple[str, Indices]]:
    """(name, candidates int32 [K]) of the wanted variants of a sample, as they are named."""
    count = len(sample.variants)
    for name in wanted:
        if name == UNIFORM:
            yield name, sample.uniform
        elif name == ALL_VARIANTS:
            yield from ((str(number), sample.variants[number]) for number in range(count))
        elif int(name) < count:
            yield name, sample.variants[int(name)]
        else:
            raise UsageError(
                f"--variants: got {name}, but sample {sample.meta.question.sample_id!r} has the variants "
                f"0 to {count - 1}"
            )


def prompt_text(row: ExportRow, options: ExportOptions) -> str:
    """A prompt that is one text: a placeholder a frame, then question, options, instruction, a line each.

    Raises UsageError for a question that holds a placeholder itself: the tool would read it as one more.
    """
    text = question_text(row.question, options)
    found = PLACEHOLDERS.search(text)
    if found:
        raise UsageError(
            f"question {row.question.sample_id!r} holds {found[0]}, which the tool would read as one of its "
            "inputs; remove it from the table (a recipe does: rules.strip), build, and export again"
        )
    stamps = time_stamps(row) if options.time_stamps else [""] * len(row.jpegs)
    return "".join(stamp + PLACEHOLDER for stamp in stamps) + "\n" + text


def question_text(question: Question, options: ExportOptions) -> str:
    """Question, options and instruction, a line each."""
    lines = [question.question.strip(), *question.options, options.instruction]
    return "\n".join(line for line in lines if line)


def time_stamps(row: ExportRow) -> list[str]:
    """`<3.5 seconds>` for each frame, as Qwen3-VL writes times in its prompts; nothing for an image."""
    if row.info.is_image:
        return [""] * len(row.times)
    return [f"<{seconds:.1f} seconds>" for seconds in row.times.tolist()]


Column = tuple[Any, Callable[[ExportRow], object]]
"""The type of a column, and its value in a row."""
Columns = dict[str, Column]

IMAGE = pl.Struct({"bytes": pl.Binary, "path": pl.String})
VALUES = {pl.String: "string", pl.Float64: "float64", pl.Float32: "float32", pl.Int32: "int32"}
PARTS = pl.List(pl.Struct({"type": pl.String, "text": pl.String}))
# `datasets` gives the cells as pictures, other readers as the JPEGs.
IMAGES: Column = (pl.List(IMAGE), lambda row: [{"bytes": jpeg, "path": None} for jpeg in row.jpegs])
ANSWER: Column = (pl.String, lambda row: row.question.answer)
SOURCE: Column = (pl.String, lambda row: row.question.source or "strive")
# What rewards and analyses may ask of a row, in every layout that has room for it.
KNOWN: Columns = {
    "sample_id": (pl.String, lambda row: row.question.sample_id),
    "variant": (pl.String, lambda row: row.variant),
    "problem_type": (pl.String, lambda row: row.question.problem_type),
    "options": (pl.List(pl.String), lambda row: list(row.question.options)),
    "data_source": SOURCE,
    "video": (pl.String, lambda row: row.question.video),
    "times": (pl.List(pl.Float64), lambda row: row.times.tolist()),
}


def _asked(content: Any, text: Callable[[ExportRow], object]) -> Column:
    """The column `prompt`: one message of the user, whose content has this type."""
    messages = pl.List(pl.Struct({"role": pl.String, "content": content}))
    return messages, lambda row: [{"role": "user", "content": text(row)}]


def easyr1(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for EasyR1; returns the head of the card, as all of these."""
    problem: Column = (pl.String, lambda row: prompt_text(row, options))
    return _write(folder, rows, {"problem": problem, "answer": ANSWER, "images": IMAGES, **KNOWN})


def verl(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for verl."""
    about: Columns = {
        **KNOWN,
        "split": (pl.String, lambda row: "train"),
        "index": (pl.Int32, lambda row: row.number),
        "question": (pl.String, lambda row: row.question.question),
        "answer": ANSWER,
    }
    columns: Columns = {
        "data_source": SOURCE,
        "prompt": _asked(pl.String, lambda row: prompt_text(row, options)),
        "images": IMAGES,
        "ability": (pl.String, lambda row: row.question.problem_type),
        "reward_model": (
            pl.Struct({"style": pl.String, "ground_truth": pl.String}),
            lambda row: {"style": "rule", "ground_truth": row.question.answer},
        ),
        "extra_info": (pl.Struct(_types(about)), lambda row: _values(about, row)),
    }
    return _write(folder, rows, columns)


def trl(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write the rows for TRL."""
    if options.time_stamps:
        prompt = _asked(PARTS, lambda row: _parts(row, question_text(row.question, options)))
    else:
        prompt = _asked(pl.String, lambda row: question_text(row.question, options))
    return _write(folder, rows, {"prompt": prompt, "images": IMAGES, "solution": ANSWER, **KNOWN})


def datasets(folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
    """Write all that is known of each row, for Hugging Face datasets."""
    columns: Columns = {
        **KNOWN,
        "prompt": (pl.String, lambda row: prompt_text(row, options)),
        "question": (pl.String, lambda row: row.question.question),
        "answer": ANSWER,
        "images": IMAGES,
        "scores": (pl.List(pl.Float32), lambda row: row.scores.tolist()),
        "candidates": (pl.List(pl.Int32), lambda row: row.indices.tolist()),
        "evidence_spans": (
            pl.List(pl.List(pl.Float64)),
            lambda row: [list(span) for span in row.question.evidence_spans],
        ),
        "video_id": (pl.String, lambda row: row.info.video_id),
        "duration_seconds": (pl.Float64, lambda row: row.info.duration_seconds),
    }
    return _write(folder, rows, columns)


def _types(columns: Columns) -> Table:
    return {name: kind for name, (kind, _) in columns.items()}


def _values(columns: Columns, row: ExportRow) -> dict[str, object]:
    return {name: value(row) for name, (_, value) in columns.items()}


def _parts(row: ExportRow, text: str) -> list[dict[str, str | None]]:
    """The content of a message: a stamp and an image for each frame, then the text."""
    parts = list[dict[str, str | None]]()
    for stamp in time_stamps(row):
        parts += [{"type": "text", "text": stamp}] if stamp else []
        parts.append({"type": "image", "text": None})
    return [*parts, {"type": "text", "text": text}]


def _write(folder: Path, rows: Iterable[ExportRow], columns: Columns) -> str:
    """Write the columns of the rows as parquet; the head of README.md by which `datasets` finds files and
    types; JSON is YAML."""
    filled = ((_values(columns, row), sum(map(len, row.jpegs))) for row in rows)
    write_parts(folder, filled, _types(columns))
    body = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
        "dataset_info": {"features": [_feature(name, kind) for name, (kind, _) in columns.items()]},
    }
    return f"---\n{json.dumps(body, indent=1)}\n---\n"


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
            for name, jpeg in zip(row.frame_names, row.jpegs, strict=True):
                path = folder / IMAGES_FOLDER / name
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(jpeg)
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
        "data_source": SOURCE[1](row),
        "sample_id": question.sample_id,
        "variant": row.variant,
        "source_video": question.video,
        "times": row.times.tolist(),
    }


PART_BYTES = 128 << 20
"""Bytes of images after which a file ends."""
ROWS_A_GROUP = 64


def write_parts(folder: Path, rows: Iterable[tuple[dict[str, object], int]], columns: Table) -> None:
    """Write (row, bytes of its images) as parquet files of one split, named as a data set on the hub.

    Files are cut by size, so that memory does not grow with the build.
    """
    parts, held, size_bytes = list[Path](), list[dict[str, object]](), 0
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
