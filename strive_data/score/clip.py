"""Frames against a question by a bi-encoder of the CLIP family: s_i = e_i·q."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.load_clip import ClipModel, load_clip
from strive_data.score.scorer import FrameBatcher, FrameScores, join_windows, query_text, split_query

LIBRARIES = ("torch", "torchvision", "open-clip-torch", "pillow")


def identity_of(clip: ClipModel, *, batch_size: int) -> str:
    """What the bits of a frame embedding depend on, as one hash: the key of cached embeddings.

    Weights, transform, precision, batch size, device and libraries.
    """
    about = {
        "weights": weights_sha256(clip.model),
        # Functions within a transform print their address.
        "transform": re.sub(r" at 0x[0-9a-f]+", "", repr(clip.transform)),
        "model": clip.name,
        "dtype": str(clip.dtype),
        "batch_size": batch_size,
        "device": _device_name(clip.device),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def weights_sha256(model: torch.nn.Module) -> str:
    """Hash of the names, types, shapes and values of all weights."""
    digest = sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


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

    Batches always have the same size (the last one is padded): another size gives other bits. They run in
    `threads` threads side by side (None: as many as torch would use), which changes no bit. On a CPU that is
    faster than one batch after the other in as many threads (18 images/s against 16 on two cores).
    """

    def __init__(self, settings: ScoreSettings, *, threads: int | None = None) -> None:
        self._settings = settings
        self._clip: ClipModel = load_clip(settings)
        self._threads = thread_count(self._clip.device, threads)
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


def thread_count(device: torch.device, threads: int | None) -> int:
    """Threads for batches on a device; `threads` None: as many as torch would use on a CPU."""
    count = threads or torch.get_num_threads()
    return count if device.type == "cpu" else min(count, MAX_GPU_THREADS)
