"""A checkpoint is a model folder that transformers loads, with the trainer's state beside the weights.

It is written under another name and renamed when whole, so a folder called `checkpoint-…` is always usable.
"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from strive_data.errors import UsageError
from strive_rl.policy import Policy
from strive_rl.policy.adapter import merged_weights

STATE_FILE = "trainer.pt"
MODEL_FOLDER = "model"
PREFIX = "checkpoint-"
STATES_KEPT = 2


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps: OUT/checkpoint-000100."""
    return out / f"{PREFIX}{step:06d}"


def latest(out: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    folders = [path for path in out.glob(PREFIX + "*") if (path / STATE_FILE).is_file()]
    return max(folders, default=None)


def save(folder: Path, policy: Policy, state: dict[str, Any] | None = None) -> None:
    """Write model, processor and, for a checkpoint, the trainer's state; an older folder gives way."""
    temporary = folder.with_name("." + folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    policy.model.save_pretrained(temporary, state_dict=merged_weights(policy.model))
    policy.processor.save_pretrained(temporary)
    if state is not None:
        torch.save(state, temporary / STATE_FILE)
    _flush(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def thin_out(out: Path) -> None:
    """Drop the trainer's state of all but the newest checkpoints; their models stay.

    The state is some six times as large as the model, and only the newest is ever gone on from.
    """
    folders = sorted(path for path in out.glob(PREFIX + "*") if (path / STATE_FILE).is_file())
    for folder in folders[:-STATES_KEPT]:
        (folder / STATE_FILE).unlink()


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
