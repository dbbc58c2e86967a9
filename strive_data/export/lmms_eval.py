"""Key frames by question id, for lmms-eval with the `use_keyframe` patch of WFS-SB.

A list of the questions with `keyframe_indices`, the numbers of the frames in the order in which the video
shows them, from 0, and `keyframe_times`, their times in seconds: `keyframes-0.json` for variant 0, and so on.
The patch takes a file of the benchmark's own rows with `keyframe_indices` added as the data of a task
(`--data_files`). These come out where the benchmark's table is given, whose rows are found by the ids that a
build gives them. Without it, a row has what a build knows, to be joined by `question_id`. The patch expects
as many frames of each video as the model is set to (`max_num_frames`): a video that has fewer ends its
evaluation.

A build has the times of frames, not their numbers: these are looked up in the packets of the videos, which
are not decoded. A video is known by its packets, so another file of that name is refused.

Source: https://github.com/MAC-AutoML/WFS-SB (datasets/*/keyframe_dir/*.json, lmms-eval-diff)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import BinaryIO
from unicodedata import normalize

import numpy as np
import orjson

from strive_data.annotations.read import rows_by_id
from strive_data.annotations.videos import VideoFolder
from strive_data.config import DecodeSettings, ExportOptions
from strive_data.decode.frame_times import ROUNDING_SECONDS
from strive_data.decode.packet_index import read_index
from strive_data.decode.pictures import picture_times
from strive_data.errors import SampleError, UsageError
from strive_data.export.rows import ExportRow
from strive_data.schema import Question, Times


class KeyFrames:
    """The writer; `data_root` is the folder that the build's video paths start from, `table` the benchmark's
    own table, whose rows get the key frames."""

    def __init__(self, data_root: Path, table: Path | None = None) -> None:
        self._root, self._videos = data_root, VideoFolder(data_root)
        self._table, (self._rows, self._count) = table, rows_by_id(table) if table else ({}, 0)

    def __call__(self, folder: Path, rows: Iterable[ExportRow], options: ExportOptions) -> str:
        """Write a file a variant, row by row. Raises UsageError for a video that is gone or another one."""
        with ExitStack() as stack:
            files = dict[str, BinaryIO]()
            for row in rows:
                if row.variant not in files:
                    path = folder / f"keyframes-{row.variant}.json"
                    files[row.variant] = stack.enter_context(path.open("wb"))
                    files[row.variant].write(b"[\n")
                else:
                    files[row.variant].write(b",\n")
                files[row.variant].write(orjson.dumps(self._entry(row), option=orjson.OPT_INDENT_2))
            for file in files.values():
                file.write(b"\n]\n")
        return ""

    def left_out(self, sample_ids: Iterable[str]) -> int:
        """How many rows of the table have none of these samples, and so no key frames."""
        return self._count - len(self._rows.keys() & set(sample_ids))

    def _entry(self, row: ExportRow) -> dict[str, object]:
        frames = {"keyframe_indices": self._numbers(row), "keyframe_times": row.times.tolist()}
        question = row.question
        if self._table is None:
            about: Mapping[str, object] = {
                "question_id": question.sample_id,
                "video": question.video,
                "question": question.question,
                "options": list(question.options),
                "answer": question.answer,
            }
        elif question.sample_id in self._rows:
            written, about = self._rows[question.sample_id]
            if not _is_same(written, question):
                raise UsageError(
                    f"--table {self._table}: the row of sample {question.sample_id!r} asks "
                    f"{written.question!r} of {written.video}, the build {question.question!r} of "
                    f"{question.video}; name the table that the build was made from, its rows in the same "
                    "order: a row without an id is known by its number"
                )
        else:
            raise UsageError(
                f"--table {self._table} has no row of sample {question.sample_id!r}; name the table that the "
                "build was made from"
            )
        return {**about, **frames}

    def _numbers(self, row: ExportRow) -> list[int]:
        name = row.question.video
        try:
            timed = bool(row.question.fps or row.question.frame_times)
            path = self._root / self._videos.find(name, timed=timed)
            if row.info.is_image:
                all_times, video_id = np.zeros(1), ""
            elif path.is_dir():  # known by its times
                question = row.question
                all_times, video_id = picture_times(path, question.fps or None, question.frame_times)[1], ""
            else:
                all_times, video_id = presented(path)
        except SampleError as error:
            raise UsageError(f"--data-root {self._root}: {error.message}") from error
        numbers = np.searchsorted(all_times, row.times + ROUNDING_SECONDS, side="right") - 1
        same = video_id in ("", row.info.video_id)
        if not same or np.abs(all_times[numbers] - row.times).max() > ROUNDING_SECONDS:
            raise UsageError(
                f"--data-root {self._root}: {name} is not the video of the build; name the folder that the "
                "build was made from"
            )
        return [int(number) for number in numbers]


def _is_same(a: Question, b: Question) -> bool:
    """Whether two rows ask the same. Of a video its name counts, with its ending or without: a build may
    write another path."""
    names = [
        {normalize("NFC", part) for part in (path.name, path.stem)}
        for path in map(PureWindowsPath, (a.video, b.video))
    ]
    asked = (a.question, a.options, a.answer) == (b.question, b.options, b.answer)
    return asked and not names[0].isdisjoint(names[1])


@lru_cache(maxsize=64)
def presented(path: Path) -> tuple[Times, str]:
    """Times of all frames that a video file shows, float64 [F] seconds, and its id. Raises SampleError."""
    index = read_index(path, DecodeSettings())
    return index.times, index.video_id
