"""Checkpoints of a run: model folders that transformers loads, with the trainer's state beside the weights.

OUT/checkpoint-000100 is written under another name and renamed when whole, its manifest last; so a folder of
that name is complete (strive_rl/common/run_folder.py finds, checks and removes them).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError

from strive_data.common.files import FULL_WORDS, DiskFullError, has_room, sync_folder
from strive_rl.common import distributed
from strive_rl.common.model_folder import STATE_FILE, add_older_names, write_manifest
from strive_rl.common.run_folder import latest
from strive_rl.policy import Policy
from strive_rl.policy.architectures.experts import published
from strive_rl.policy.lora import plain_weights


class AsyncSaver:
    """Runs save jobs one after the other: in a thread of its own where `background`, else at once. A job's
    error is raised by the next `submit`, by `wait`, or at the end of the saver's block."""

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self._pool = ThreadPoolExecutor(1, "strive-checkpoint") if background else None
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._pool:
            self._pool.shutdown()
        if error is None:
            self.wait()

    def submit(self, job: Callable[[], None]) -> None:
        """Run this job, or start it once the one before is done."""
        self.wait()
        if self._pool:
            self._pending = self._pool.submit(job)
        else:
            job()

    def wait(self) -> None:
        """Wait for the job that is running."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()


def snapshot(policy: Policy, *, copy: bool = True) -> dict[str, torch.Tensor]:
    """The merged weights on the CPU, under the names of the plain model; empty on all processes but the
    first. All must call it.

    They are copies, so that training may go on. Without `copy`, on a CPU, those that need no merging are the
    policy's own: they must be written before the policy changes.
    """
    own = policy.model.state_dict(keep_vars=True)
    # The first name of each tensor: tied weights have two, and are written once.
    first_of = {id(tensor): name for name, tensor in reversed(own.items())}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in plain_weights(policy.model, policy.settings.lora_scale):
        if distributed.is_first():
            first = first_of[id(own[name])] if name in own else name
            weights[name] = weights[first] if first in weights else tensor.to("cpu", copy=copy)
    return weights


def write(
    folder: Path, policy: Policy, weights: dict[str, torch.Tensor], state: dict[str, Any] | None = None
) -> None:
    """Write model, processor and, for a checkpoint, the trainer's state; replaces a folder of that name.

    Raises DiskFullError where there is no room. What a failed write left is removed, older folders stay.
    """
    # Else transformers writes the layout that it knows as published.
    own_layout = policy.model.config.model_type == "qwen3_vl_moe"
    laid_out = {name: published(name, tensor) if own_layout else tensor for name, tensor in weights.items()}
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        policy.model.save_pretrained(temporary, state_dict=laid_out, save_original_format=not own_layout)
        policy.processor.save_pretrained(temporary)
        add_older_names(temporary)
        if state is not None:
            torch.save(state, temporary / STATE_FILE)
        write_manifest(temporary)
        _replace(folder, temporary)
    except (OSError, RuntimeError, SafetensorError) as error:
        full = any(words in str(error) for words in FULL_WORDS) or not has_room(folder.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        if not full:
            raise
        newest = latest(folder.parent)
        stays = f"{newest.name} stays" if newest else "there is no earlier checkpoint"
        raise DiskFullError(
            f"disk full: no room left to save {folder} ({stays}); free space, then resume with --resume"
        ) from error


def _replace(folder: Path, temporary: Path) -> None:
    """Give the new folder its name; at every moment one of the two is there, or found by `clean`."""
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
