"""What a scorer is and what it returns, the query of a question, and the scorer `flat`, without image model.

No token of a long query is cut off, whatever the text encoder's limit (CLIP's own tokenizer cuts at 77 in
silence): it is split into windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Frames, Question

SCHEMAS = ("local-dir:", "hf-hub:")
"""Beginnings of the name of a CLIP model that say where it lies; other names are open_clip's own."""
OFFLINE_HINT = (
    "without a network, give a local file (--set score.pretrained=/path/to/weights.safetensors), "
    "an open_clip folder (--set score.model=local-dir:/path/to/folder), or even frames (--scorer flat "
    "--set sampler.grouping=none --set shard.embeds=false)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of one video's candidates for one question.

    scores float32 [N], higher is more relevant, on the scorer's own scale; `windows` into which the query was
    cut (1: it fitted); `scorer` names the model and its weights (empty: the scorer's name). `embeddings` are
    the unit embeddings float32 [N, D] of the frames where the scorer has any (batcher.py), the same for all
    questions of a video.
    """

    scores: Floats
    windows: int = 1
    scorer: str = ""
    embeddings: Floats | None = None


class Scorer(Protocol):
    """Scores the candidates of one video for all of its questions at once."""

    name: str

    def score(
        self, candidates: Candidates, questions: Sequence[Question]
    ) -> Sequence[FrameScores | SampleError]:
        """Candidates of one video, frames uint8 RGB [N, H, W, 3] → one result a question, in order.

        A question that alone cannot be scored gets a SampleError (score_failed) in its place; frames that
        cannot be scored at all raise it.
        """
        ...


def require_frames(frames: Frames) -> None:
    """Raise SampleError (score_failed) for frames that are not [N, H, W, 3], N at least 1."""
    if frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise SampleError(FailureKind.SCORE_FAILED, f"frames of shape {frames.shape}, expected [N, H, W, 3]")


class FlatScorer:
    """Scores every frame 0, which is enough for uniform sampling. Its embeddings have no width, [N, 0]: the
    cache keeps the frames of a video alone."""

    name = "flat"

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores]:
        """Zeros float32 [N] for each question."""
        return self.score_embeddings(self.embed_frames(candidates.frames), questions)

    def embed_frames(self, frames: Frames) -> Floats:
        """Float32 [N, 0] of frames uint8 RGB [N, H, W, 3]."""
        return np.zeros((len(frames), 0), dtype=np.float32)

    def embedding_identity(self) -> str:
        """Empty: frames that the cache keeps for any image model fit (cache.FRAMES_ONLY)."""
        return ""

    def embedding_size(self) -> int:
        """0: these embeddings have no components."""
        return 0

    def score_embeddings(self, frames_ND: Floats, questions: Sequence[Question]) -> list[FrameScores]:
        """What `score` gives."""
        zeros = np.zeros(len(frames_ND), dtype=np.float32)
        scored = FrameScores(scores=zeros, windows=1, scorer=self.name, embeddings=frames_ND)
        return [scored] * len(questions)


@runtime_checkable
class FrameEmbedder(Protocol):
    """A scorer whose FrameScores carry the embeddings of the frames."""

    def embed_frames(self, frames: Frames) -> Floats:
        """Unit embeddings float32 [N, D] of frames uint8 RGB [N, H, W, 3]."""
        ...


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
