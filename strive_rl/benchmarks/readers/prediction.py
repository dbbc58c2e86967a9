"""One answer of some system, before it is known which question it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from strive_rl.benchmarks.item import Item


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An output and what tells its question: `ids` that it may have, and video and question text.

    `place` is where it stands, for messages. `judgement` in [0, 1] is a judge's, where the file holds one.
    `item` is the whole question, where the file holds that. `frames` is whatever it says of the frames used.
    `outputs` are all answers to the question, where several were sampled; `output` is the first.
    """

    place: str
    output: str
    ids: tuple[str, ...] = ()
    video: str = ""
    question: str = ""
    options: tuple[str, ...] = ()
    group: str = ""
    judgement: float | None = None
    item: Item | None = None
    frames: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """Predictions in the order of a file; `bad` are rows that hold none, with the reason."""

    format: str
    predictions: tuple[Prediction, ...]
    bad: tuple[str, ...] = ()


def video_key(video: str) -> str:
    """A video's name without folders and suffix, and case: files are moved and converted."""
    return PurePosixPath(video.replace("\\", "/")).stem.casefold()


def text_key(question: str, options: tuple[str, ...] = ()) -> str:
    """Letters and digits of a question and its options: layout and punctuation tell no questions apart."""
    return " ".join(re.findall(r"[^\W_]+", " ".join([question, *options]).casefold()))
