"""A checkpoint is a model folder that transformers loads, with the trainer's state beside the weights.

It is written under another name and renamed when whole, so a folder called `checkpoint-…` is always usable.
"""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from strive_data.errors import UsageError
from strive_rl import distributed
from strive_rl.policy import Policy
from strive_rl.policy.adapter import merged
from strive_rl.slices import on_cpu

STATE_FILE = "trainer.pt"
MODEL_FOLDER = "model"
PREFIX = "checkpoint-"


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps: OUT/checkpoint-000100."""
    return out / f"{PREFIX}{step:06d}"


def latest(out: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    folders = [path for path in out.glob(PREFIX + "*") if (path / STATE_FILE).is_file()]
    return max(folders, default=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """All that a folder will hold, copied to the CPU: what is trained on meanwhile does not change it.

    `weights` under the names of the plain model, adapters merged; `state` is the trainer's, None for a model
    alone. Both are empty on all processes but the first.
    """

    weights: dict[str, torch.Tensor]
    state: dict[str, Any] | None = None


def snapshot(policy: Policy, state: dict[str, Any] | None = None) -> Snapshot:
    """Snapshot of the policy as it is; with several processes all must call it."""
    weights = on_cpu(policy.model.state_dict(keep_vars=True))
    return Snapshot(weights=merged(weights, policy.settings.lora_scale), state=state)


def save(folder: Path, policy: Policy, state: dict[str, Any] | None = None) -> None:
    """Write a snapshot now, on the first process; with several all must call it."""
    taken = snapshot(policy, state)
    if distributed.is_first():
        write(folder, policy, taken)


def write(folder: Path, policy: Policy, taken: Snapshot) -> None:
    """Write model, processor and, for a checkpoint, the trainer's state; an older folder gives way."""
    temporary = folder.with_name("." + folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    policy.model.save_pretrained(temporary, state_dict=dict(taken.weights))
    policy.processor.save_pretrained(temporary)
    if taken.state is not None:
        torch.save(taken.state, temporary / STATE_FILE)
    _flush(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def prune(out: Path, keep: int) -> None:
    """Drop all but the `keep` newest checkpoints of a run; 0 keeps all."""
    folders = sorted(path for path in out.glob(PREFIX + "*") if (path / STATE_FILE).is_file())
    for folder in folders[:-keep] if keep else []:
        # Without its state it is no checkpoint any more, should this be cut off half-way.
        (folder / STATE_FILE).unlink()
        shutil.rmtree(folder)


def load_state(folder: Path) -> dict[str, Any]:
    """The trainer's state of a checkpoint; only tensors and plain values are read, never code."""
    try:
        state: dict[str, Any] = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        message = str(error).partition("\n")[0]
        raise UsageError(f"{folder / STATE_FILE} cannot be read: {message}") from error
    return state


def _flush(folder: Path) -> None:
    """Bring every file of the folder to the disk before it gets its name."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
