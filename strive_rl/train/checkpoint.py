"""Checkpoints of a run: model folders that transformers loads, with the trainer's state beside the weights.

OUT/checkpoint-000100 is written under another name and renamed when whole, its manifest last; so a folder of
that name is complete, and damage that comes later is found by its manifest before anything is read.

`strive-rl export` makes of a run or a checkpoint a folder for others: a plain model of transformers, or the
adapter alone for peft. A checkpoint's model is plain already, its adapters merged. torch is imported by the
functions that need it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from strive_data.common.files import FULL_WORDS, DiskFullError, has_room, output_folder, sync_folder
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import (
    MANIFEST_FILE,
    STATE_FILE,
    add_older_names,
    find_damage,
    has_manifest,
    reading,
    require_intact,
    write_manifest,
)
from strive_rl.common.run_settings import SETTINGS_FILE
from strive_rl.config import PolicySettings

if TYPE_CHECKING:
    import torch

    from strive_rl.policy import Policy

MODEL_FOLDER = "model"
PREFIX = "checkpoint-"
NAME = re.compile(rf"{PREFIX}(\d+)")
# What a killed process leaves of a folder: one being written or removed, and one being replaced.
TEMPORARY = re.compile(rf"\.({PREFIX}\d+|{MODEL_FOLDER})\.(tmp|old)")
# Where peft looks for a weight: the model is an attribute of its own wrapper.
PEFT_PREFIX = "base_model.model."


class AsyncSaver:
    """Runs save jobs one after the other: in a thread of its own where `background`, else at once.

    A job's error is raised by the next `submit`, by `wait`, or at the end of the block that the saver is used
    in.
    """

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


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps: OUT/checkpoint-000100."""
    return out / f"{PREFIX}{step:06d}"


def checkpoints(out: Path) -> dict[int, Path]:
    """The checkpoints of a run by their steps, the oldest first. No other name counts as one. One with a
    manifest that has lost its state is damaged, not absent."""
    named = [(NAME.fullmatch(path.name), path) for path in out.glob(PREFIX + "*")]
    return dict(
        sorted(
            (int(name[1]), path)
            for name, path in named
            if name and ((path / STATE_FILE).is_file() or has_manifest(path))
        )
    )


def latest(out: Path) -> Path | None:
    """The newest checkpoint of a run, or None."""
    return next(reversed(checkpoints(out).values()), None)


def find(out: Path, wanted: Path | None) -> Path | None:
    """As `choose`, without a look at its files."""
    if wanted is None:
        return latest(out)
    known = checkpoints(out)
    folder = next((path for path in known.values() if path.name == wanted.name), None)
    if folder is None or (len(wanted.parts) > 1 and wanted.resolve() != folder.resolve()):
        names = ", ".join(path.name for path in known.values()) or "no checkpoint"
        raise UsageError(f"--resume-from {wanted}: not a checkpoint of {out}; it holds {names}")
    return folder


def choose(out: Path, wanted: Path | None = None) -> Path | None:
    """The checkpoint to resume from: the newest, or `wanted`, a folder or its name. None where there is none.

    Raises UsageError where `wanted` is no checkpoint of the run, DamagedError that names the damaged file and
    the newest intact checkpoint.
    """
    folder = find(out, wanted)
    damage = next(find_damage(folder), None) if folder else _stripped(out)
    if damage:
        others = (path for path in reversed(checkpoints(out).values()) if path != folder)
        intact = next((path for path in others if not any(find_damage(path))), None)
        advice = (
            f"resume from the newest intact checkpoint with --resume-from {intact.name}"
            if intact
            else "no checkpoint of the run is intact: start again with another --out"
        )
        raise DamagedError(f"{damage}; {advice}")
    return folder


def _stripped(out: Path) -> str | None:
    """What to say of a folder with a checkpoint's name and neither state nor manifest: without a word the run
    would start over."""
    named = sorted(path for path in out.glob(PREFIX + "*") if NAME.fullmatch(path.name) and path.is_dir())
    return f"{named[-1]}: {STATE_FILE} and its manifest are missing" if named else None


def snapshot(policy: Policy, *, copy: bool = True) -> dict[str, torch.Tensor]:
    """The weights as they are, on the CPU, under the names of the plain model; empty on all processes but the
    first. With several processes all must call it.

    They are merged and copied one by one, so that training may go on. Without `copy`, on a CPU, those that
    need no merging are the policy's own: they must be written before the policy changes.
    """
    from strive_rl.common import distributed
    from strive_rl.policy.lora import plain_weights

    own = policy.model.state_dict(keep_vars=True)
    # The first name of each tensor: tied weights have two, and are written once.
    first_of = {id(tensor): name for name, tensor in reversed(own.items())}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in plain_weights(policy.model, policy.settings.lora_scale):
        if distributed.is_first():
            first = first_of[id(own[name])] if name in own else name
            weights[name] = weights[first] if first in weights else tensor.to("cpu", copy=copy)
    return weights


def save(folder: Path, policy: Policy, state: dict[str, Any] | None = None) -> None:
    """Write the policy as it is, on the first process; with several all must call it."""
    from strive_rl.common import distributed

    weights = snapshot(policy, copy=False)
    if distributed.is_first():
        write(folder, policy, weights, state)


def write(
    folder: Path, policy: Policy, weights: dict[str, torch.Tensor], state: dict[str, Any] | None = None
) -> None:
    """Write model, processor and, for a checkpoint, the trainer's state; replaces a folder of that name.

    Raises DiskFullError where there is no room. What a failed write left is removed, older folders stay.
    """
    import torch
    from safetensors import SafetensorError

    from strive_rl.policy.architectures.experts import published

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


def prune(out: Path, keep: int, best: int | None = None) -> None:
    """Remove all checkpoints of a run but the `keep` newest (0: all) and that of step `best`. Nothing else is
    ever touched."""
    folders = [(step, path) for step, path in checkpoints(out).items() if not path.is_symlink()]
    for folder in [path for step, path in (folders[:-keep] if keep else []) if step != best]:
        doomed = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)


def clean(out: Path) -> None:
    """Remove what a killed process left of folders that it wrote or removed; a replaced one comes back."""
    for path in sorted(out.glob(".*")):
        match = TEMPORARY.fullmatch(path.name)
        if match and match[2] == "old" and not (out / match[1]).exists():
            path.rename(out / match[1])
        elif match and path.is_dir():
            shutil.rmtree(path)


def set_aside_after(out: Path, step: int) -> list[Path]:
    """Rename the checkpoints after `step`, from where a run resumes; their new names.

    Nothing is deleted: their weights may be of use.
    """
    moved = []
    for later, folder in checkpoints(out).items():
        if later > step:
            names = (folder.with_name(f"{folder.name}.set-aside-{number}") for number in count(1))
            moved.append(folder.rename(next(name for name in names if not name.exists())))
    return moved


def load_state(folder: Path) -> dict[str, Any]:
    """The trainer's state of a checkpoint; only tensors and plain values are read, never code."""
    import torch

    with reading(folder / STATE_FILE):
        state: dict[str, Any] = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    return state


def export(source: Path, out: Path, *, adapter: bool = False) -> Path:
    """Write the model of a run (its finished one, else that of its newest checkpoint) or of a checkpoint to
    the new folder `out`; with `adapter` its low-rank adapters alone. Gives the folder that it came from.

    Raises UsageError where there is no model, or no adapter, or `out` exists; DamagedError for files that are
    not what their manifest says; DiskFullError where there is no room.
    """
    if out.exists():
        raise UsageError(f"--out {out} exists: give a new name")
    folder = _checkpoint(source) if adapter else _model(source)
    require_intact(folder)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with output_folder(temporary):
            if adapter:
                _write_adapter(folder, temporary)
            else:
                _copy(folder, temporary)
            write_manifest(temporary)
            temporary.rename(out)
    except StriveError as error:
        raise type(error)(str(error).replace(str(temporary), str(out))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _copy(folder: Path, out: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in (STATE_FILE, MANIFEST_FILE):
            shutil.copyfile(path, out / path.name)


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
    from safetensors.torch import save_file

    from strive_rl.policy.lora import NAME, adapter_config

    weights = load_state(folder)["adapters"]
    if not weights:
        raise UsageError(f"{folder}: trained without adapters (policy.lora_rank=0); leave out --adapter")
    record: dict[str, Any] = jsonl.read_json(folder.parent / SETTINGS_FILE, ["settings", "model"])
    config = adapter_config(PolicySettings(**record["settings"]["policy"]))
    config.base_model_name_or_path = record["model"]
    config.inference_mode = True
    config.save_pretrained(out)
    named = {PEFT_PREFIX + name.replace(f".{NAME}.", "."): each for name, each in weights.items()}
    save_file(named, out / "adapter_model.safetensors", metadata={"format": "pt"})
