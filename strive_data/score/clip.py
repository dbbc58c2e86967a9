"""Frames against a question by a bi-encoder of the CLIP family: s_i = e_i·q.

Any open_clip model, from a name and a tag, a local checkpoint, or a local folder; never a pickle.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image
from safetensors import SafetensorError

from strive_data.common.hub import from_hub
from strive_data.common.text import did_you_mean
from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.scorer import (
    OFFLINE_HINT,
    SCHEMAS,
    CountTokens,
    FrameBatcher,
    FrameScores,
    join_windows,
    query_text,
    split_query,
)

LIBRARIES = ("torch", "torchvision", "open-clip-torch", "pillow")


def identity_of(clip: ClipModel, *, batch_size: int) -> str:
    """What the bits of a frame embedding depend on, as one hash: the key of cached embeddings.

    Weights, transform, precision, batch size, device and libraries.
    """
    weights = sha256()  # of the names, types, shapes and values of all
    for name, tensor in sorted(clip.model.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    about = {
        "weights": weights.hexdigest(),
        # Functions within a transform print their address.
        "transform": re.sub(r" at 0x[0-9a-f]+", "", repr(clip.transform)),
        "model": clip.name,
        "dtype": str(clip.dtype),
        "batch_size": batch_size,
        "device": _device_name(clip.device),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


FRAMES_OF_A_CPU_BATCH = 16
"""ViT-B-32 embeds 18.0 frames a second in batches of 16 on two cores, 16.5 in batches of 32 (tools/bench)."""
FRAMES_OF_A_GPU_BATCH = 64
TEXTS_OF_A_GPU_BATCH = 8
"""On a CPU texts go one by one: a video has two or three, and padding costs as much as a text."""


class ClipScorer:
    """Scorer with an open_clip model. Frames are embedded once for all questions of a video.

    Batches always have the same size (the last one is padded): another size gives other bits. They run side
    by side in as many threads as torch would use, which changes no bit. On a CPU that is faster than one
    batch after the other in as many threads (18 images/s against 16 on two cores).
    """

    def __init__(self, settings: ScoreSettings) -> None:
        self._settings = settings
        self._clip: ClipModel = load_clip(settings)
        self._threads = thread_count(self._clip.device)
        on_cpu = self._clip.device.type == "cpu"
        self._batch = settings.batch_size or (FRAMES_OF_A_CPU_BATCH if on_cpu else FRAMES_OF_A_GPU_BATCH)
        self._text_batch = 1 if on_cpu else TEXTS_OF_A_GPU_BATCH
        self._device_turn: AbstractContextManager[object] = nullcontext() if on_cpu else threading.Lock()
        self.name = self._clip.name

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """One FrameScores a question; scores are cosines in [-1, 1]."""
        return self.score_embeddings(self.embed_frames(candidates.frames), questions)

    def score_embeddings(
        self, frames_ND: Floats, questions: Sequence[Question]
    ) -> list[FrameScores | SampleError]:
        """`score` from the unit embeddings float32 [N, D] that `embed_frames` gave: no image is needed.

        The windows of all questions go through the text encoder together. A query that cannot be cut into
        windows gets its SampleError in its place.
        """
        windows_Q = [self._windows_of(question) for question in questions]
        texts = [text for windows in windows_Q if not isinstance(windows, SampleError) for text in windows]
        texts_WD = iter(self.embed_texts(texts))
        return [
            windows
            if isinstance(windows, SampleError)
            else self._compare(frames_ND, np.stack([next(texts_WD) for _ in windows]))
            for windows in windows_Q
        ]

    def embedding_identity(self) -> str:
        """Hash of weights, preprocessing, precision, batch size, device and the libraries between them."""
        return identity_of(self._clip, batch_size=self._batch)

    def embedding_size(self) -> int:
        """D of the embeddings, which texts and frames share."""
        return int(self.embed_texts([""]).shape[1])

    @contextmanager
    def frame_batcher(self) -> Iterator[FrameBatcher]:
        """A batcher that embeds frames while the caller does other work."""
        with threads(self._threads) as pool:
            most = 2 * self._threads
            yield FrameBatcher(self._embed_batch, size=self._batch, pool=pool, most_batches=most)

    def embed_frames(self, frames: Frames) -> Floats:
        """Unit embeddings float32 [N, D] of frames uint8 RGB [N, H, W, 3]."""
        with self.frame_batcher() as batcher:
            video = batcher.put(frames)
            batcher.flush()
            return video.result().rows

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings float32 [W, D] of texts that fit the text encoder."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        size = self._text_batch
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        with threads(self._threads) as pool:
            return _unit(np.concatenate(list(pool.map(self._embed_text_batch, batches))))

    def _windows_of(self, question: Question) -> list[str] | SampleError:
        try:
            return split_query(
                query_text(question, self._settings.query),
                count=self._clip.count_tokens,
                capacity=self._clip.capacity,
                overlap=min(self._settings.window_overlap_tokens, self._clip.capacity // 2),
            )
        except SampleError as error:
            return error

    def _compare(self, frames_ND: Floats, windows_WD: Floats) -> FrameScores:
        queries_WD = join_windows(windows_WD, self._settings.windows)
        scores_NW = frames_ND.astype(np.float64) @ queries_WD.T.astype(np.float64)
        scores = scores_NW.max(axis=1).astype(np.float32)
        if not np.isfinite(scores).all():
            raise SampleError(FailureKind.SCORE_FAILED, f"{self.name}: scores are not finite")
        return FrameScores(scores=scores, windows=len(windows_WD), scorer=self.name, embeddings=frames_ND)

    def _embed_batch(self, frames: Sequence[Frames]) -> Floats:
        """Unit embeddings [B, D] of frames [H, W, 3] of any sizes, run as a batch of the one size."""
        images = torch.stack([self._clip.transform(Image.fromarray(frame)) for frame in frames])
        missing = self._batch - len(images)
        padded = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
        with torch.inference_mode(), self._device_turn:
            out: torch.Tensor = self._clip.model.encode_image(padded.to(self._clip.device, self._clip.dtype))
            rows_BD = out[: len(frames)].float().cpu().numpy()
        return _unit(rows_BD)

    def _embed_text_batch(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Raw embeddings [B, D] of texts, run as a batch of the one size."""
        ids = self._clip.tokenize([*texts, *[""] * (self._text_batch - len(texts))])
        with torch.inference_mode(), self._device_turn:
            out: torch.Tensor = self._clip.model.encode_text(ids.to(self._clip.device))
            rows_BD: npt.NDArray[np.float32] = out[: len(texts)].float().cpu().numpy()
        return rows_BD


def _unit(rows_BD: npt.NDArray[np.float32]) -> Floats:
    unit: Floats = rows_BD / np.maximum(np.linalg.norm(rows_BD, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)


MAX_GPU_THREADS = 4  # they prepare images beside its forwards; more only hold its memory


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """`count` threads in which torch uses one thread of the CPU each.

    The calling thread uses one too meanwhile, since torch's setting reaches beyond the thread that makes it.
    Calls that have not started at the end of the block are cancelled.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(count, "batch", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)


def thread_count(device: torch.device) -> int:
    """Threads for batches on a device: as many as torch would use, few for a GPU."""
    count = torch.get_num_threads()
    return count if device.type == "cpu" else min(count, MAX_GPU_THREADS)


# What torch, safetensors and open_clip were seen to raise for a failing download or a file of something else.
LOAD_ERRORS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, OSError, AssertionError),
    *(pickle.UnpicklingError, SafetensorError),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipModel:
    """A model in evaluation mode with its own transform and tokenizer.

    `count_tokens` counts without special tokens; `capacity` is how many of those the text encoder takes.
    """

    name: str
    model: Any
    transform: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    count_tokens: CountTokens
    capacity: int
    device: torch.device
    dtype: torch.dtype


def load_clip(settings: ScoreSettings) -> ClipModel:
    """Load model, transform and tokenizer; UsageError says which of name, weights and device is at fault."""
    device = choose_device(settings.device)
    check_names(settings.model, settings.pretrained)
    by_schema = settings.model.startswith(SCHEMAS)
    pretrained = None if by_schema else settings.pretrained
    tag_cfg = {} if by_schema else open_clip.get_pretrained_cfg(settings.model, settings.pretrained)
    # With a local checkpoint, too, the tokenizer of SigLIP2 comes from the hub.
    text = {} if by_schema else (open_clip.get_model_config(settings.model) or {}).get("text_cfg", {})
    local = settings.model.startswith("local-dir:") or not (
        by_schema or tag_cfg or "hf_tokenizer_name" in text
    )
    try:
        with quiet(), nullcontext() if local else from_hub(f"{settings.model} {pretrained or ''}".rstrip()):
            model, _, transform = open_clip.create_model_and_transforms(
                settings.model,
                pretrained=pretrained,
                precision=settings.precision,
                device=device,
                # With the activation of another tag open_clip only warns, and scores are wrong.
                force_quick_gelu=bool(tag_cfg and tag_cfg.get("quick_gelu")),
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(settings.model)
    except LOAD_ERRORS as error:
        where = settings.model if by_schema else f"{settings.model} with pretrained={settings.pretrained}"
        raise UsageError(f"score: cannot load {where}: {first_line(error)}; {OFFLINE_HINT}") from None
    count, capacity = token_counter(tokenizer)
    # The same wherever the files lie.
    weights = Path(settings.pretrained)
    name = f"{settings.model}/{weights.name if weights.is_file() else settings.pretrained}"
    if settings.model.startswith("local-dir:"):
        name = Path(settings.model.removeprefix("local-dir:")).name
    return ClipModel(
        name=name,
        model=model.eval(),
        transform=transform,
        tokenize=tokenizer,
        count_tokens=count,
        capacity=capacity,
        device=device,
        dtype=open_clip.get_input_dtype(settings.precision) or torch.float32,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing logged: open_clip and the hub's client print each retry; what matters is in the exception."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; UsageError for a device that torch does not know or have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"score.device: got {name!r}, expected auto, cpu or cuda[:number]") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"score.device: got {name!r}, but torch sees no GPU here; use cpu or auto")
    return device


def check_names(model: str, pretrained: str) -> None:
    """UsageError for a model name or weights that open_clip cannot have, before anything is loaded."""
    for schema in SCHEMAS:
        if model.startswith(schema):
            folder = Path(model.removeprefix(schema))
            if schema == "local-dir:" and not (folder / "open_clip_config.json").is_file():
                raise UsageError(f"score.model: {folder} is no open_clip folder (no open_clip_config.json)")
            return
    known = open_clip.list_models()
    if model not in known:
        hint = did_you_mean(model, known, most=3) or f"; open_clip has {len(known)} models"
        raise UsageError(f"score.model: got {model!r}, which open_clip does not know{hint}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained in tags or Path(pretrained).is_file():
        return
    raise UsageError(
        f"score.pretrained: got {pretrained!r}, which is neither a file nor a tag of {model}; "
        f"tags: {', '.join(tags) or 'none'}; {OFFLINE_HINT}"
    )


def token_counter(tokenizer: Any) -> tuple[CountTokens, int]:
    """How to count the tokens of a text, and how many fit, special tokens apart."""
    clean = tokenizer.clean_fn
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return lambda text: len(tokenizer.encode(clean(text))), tokenizer.context_length - 2
    inner = tokenizer.tokenizer
    # open_clip's "clips" mode puts a begin and an end token itself.
    special = 2 if tokenizer.tokenizer_mode == "clips" else inner.num_special_tokens_to_add()
    return (
        lambda text: len(inner(clean(text), add_special_tokens=False).input_ids),
        tokenizer.context_length - special,
    )


def first_line(error: BaseException) -> str:
    """What an exception says, in one short line."""
    lines = str(error).strip().splitlines()
    return textwrap.shorten(lines[0], 240, placeholder=" …") if lines else type(error).__name__
