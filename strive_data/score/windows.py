"""A long query in windows: no token is cut off, whatever the text encoder's limit.

CLIP's own tokenizer cuts at 77 tokens in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Question

CountTokens = Callable[[str], int]


def query_text(question: Question, form: Literal["question", "question+options"]) -> str:
    """The text that frames are compared with."""
    options = question.options if form == "question+options" else ()
    return " ".join([question.question.strip(), *(option.strip() for option in options)])


def split_query(text: str, *, count: CountTokens, capacity: int, overlap: int) -> list[str]:
    """Windows of at most `capacity` tokens, in order, that together hold every word of `text`.

    `count` gives the tokens of a text without the special ones. Windows begin at words; one repeats up to
    `overlap` tokens of the one before. A word longer than a window is cut between characters. A text that
    fits is one window, unchanged. Raises SampleError where one character is longer than a window.
    """
    if count(text) <= capacity:
        return [text]
    pieces = [piece for word in text.split() for piece in _fitting(word, count, capacity)]
    windows: list[str] = []
    start, done = 0, 0
    while done < len(pieces):
        stop = _furthest(pieces, start, count, capacity)
        if stop <= done:  # the repeated words leave no room for the next one
            start += 1
            continue
        windows.append(" ".join(pieces[start:stop]))
        start, done = _step_back(pieces, start, stop, count, overlap), stop
    return windows


def join_windows(
    embeddings_WD: npt.NDArray[np.float32], how: Literal["mean", "max"]
) -> npt.NDArray[np.float32]:
    """Unit embeddings of the windows [W, D] to unit query embeddings: their renormalised mean [1, D], or all
    of them [W, D] where the score is the maximum over windows."""
    if how == "max" or len(embeddings_WD) == 1:
        return embeddings_WD
    mean_1D = embeddings_WD.mean(axis=0, keepdims=True)
    unit_1D: npt.NDArray[np.float32] = mean_1D / np.maximum(np.linalg.norm(mean_1D), 1e-12)
    return unit_1D.astype(np.float32)


def _furthest(pieces: list[str], start: int, count: CountTokens, capacity: int) -> int:
    """Largest `stop` for which pieces[start:stop] fit; at least start + 1."""
    stop = start + 1
    while stop < len(pieces) and count(" ".join(pieces[start : stop + 1])) <= capacity:
        stop += 1
    return stop


def _step_back(pieces: list[str], start: int, stop: int, count: CountTokens, overlap: int) -> int:
    """Where the next window starts: before `stop` by whole pieces of up to `overlap` tokens in all."""
    begin = stop
    while begin - 1 > start and count(" ".join(pieces[begin - 1 : stop])) <= overlap:
        begin -= 1
    return begin


def _fitting(word: str, count: CountTokens, capacity: int) -> list[str]:
    """The word, halved until each part fits."""
    if count(word) <= capacity:
        return [word]
    if len(word) == 1:
        message = (
            f"query: {word!r} alone takes {count(word)} tokens, the text encoder's window holds {capacity}"
        )
        raise SampleError(FailureKind.SCORE_FAILED, message)
    middle = len(word) // 2
    return _fitting(word[:middle], count, capacity) + _fitting(word[middle:], count, capacity)
