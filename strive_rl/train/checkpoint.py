"""A run or a checkpoint → a folder for others: a plain model of transformers, or the adapter alone for peft.

A checkpoint's model is plain already, its adapters merged; export leaves the trainer's state behind.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors.torch import save_file

from strive_data.errors import UsageError
from strive_rl.common import distributed, jsonl
from strive_rl.common.distributed import on_cpu
from strive_rl.common.run_settings import SETTINGS_FILE
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy
from strive_rl.policy.lora import NAME, adapter_config, merged

# Work that is done beside the training: one job at a time, its errors never lost.


class Writer:
    """Does jobs in a thread of its own where `background`, else at once.

    A job waits for the one before it. Its error is raised by the next `do`, by `wait`, or at the end of the
    block that the writer is used in.
    """

    def __init__(self, *, background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "strive-checkpoint") if background else None
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown()
        if error is None:
            self.wait()

    def do(self, job: Callable[[], None]) -> None:
        """Do this job, or start it once the one before is done."""
        self.wait()
        if self._pool:
            self._pending = self._pool.submit(job)
        else:
            job()

    def wait(self) -> None:
        """Until nothing is under way."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()


# A checkpoint is a model folder that transformers loads, with the trainer's state beside the weights.
#
# It is written under another name and renamed when whole, so a folder called `checkpoint-…` is always
# usable.

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


# Where peft looks for a weight: the model is an attribute of its own wrapper.
PEFT_PREFIX = "base_model.model."


def export(source: Path, out: Path, *, adapter: bool = False) -> Path:
    """Write the model of a run (its finished one, else that of its newest checkpoint) or of a checkpoint to
    the new folder `out`; with `adapter` its low-rank adapters alone. The folder that it came from.

    Raises UsageError where there is no model, or no adapter, or `out` is there already.
    """
    if out.exists():
        raise UsageError(f"--out {out} is there already: give a new name")
    folder = _checkpoint(source) if adapter else _model(source)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    if adapter:
        _write_adapter(folder, temporary)
    else:
        shutil.copytree(folder, temporary, ignore=shutil.ignore_patterns(STATE_FILE))
    temporary.rename(out)
    return folder


def _model(source: Path) -> Path:
    finished = source / MODEL_FOLDER
    for folder in (source, finished, latest(source)):
        if folder and (folder / "config.json").is_file():
            return folder
    raise UsageError(f"{source}: no model in it, expected a run with a checkpoint, or a checkpoint")


def _checkpoint(source: Path) -> Path:
    folder = source if (source / STATE_FILE).is_file() else latest(source)
    if folder is None:
        raise UsageError(f"{source}: no checkpoint in it; adapters are kept in checkpoint-…/{STATE_FILE}")
    return folder


def _write_adapter(folder: Path, out: Path) -> None:
    """adapter_config.json and adapter_model.safetensors, as peft writes them."""
    weights = load_state(folder)["adapters"]
    if not weights:
        raise UsageError(f"{folder}: trained without adapters (policy.lora_rank=0); leave out --adapter")
    record: dict[str, Any] = jsonl.read_json(folder.parent / SETTINGS_FILE)
    config = adapter_config(PolicySettings(**record["settings"]["policy"]))
    config.base_model_name_or_path = record["model"]
    config.inference_mode = True
    out.mkdir()
    config.save_pretrained(out)
    named = {PEFT_PREFIX + name.replace(f".{NAME}.", "."): each for name, each in weights.items()}
    save_file(named, out / "adapter_model.safetensors", metadata={"format": "pt"})
