"""The model of a run as a folder for others: a plain model of transformers, or the adapter alone for peft.

A checkpoint's model is plain already, its adapters merged. torch is imported where adapters are read.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from strive_data.common.files import output_folder
from strive_data.errors import StriveError, UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import (
    MANIFEST_FILE,
    STATE_FILE,
    load_state,
    require_intact,
    write_manifest,
)
from strive_rl.common.run_folder import MODEL_FOLDER, latest
from strive_rl.common.run_settings import SETTINGS_FILE
from strive_rl.config import PolicySettings

# Where peft looks for a weight: the model is an attribute of its own wrapper.
PEFT_PREFIX = "base_model.model."


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
                for path in sorted(folder.iterdir()):
                    if path.is_file() and path.name not in (STATE_FILE, MANIFEST_FILE):
                        shutil.copyfile(path, temporary / path.name)
            write_manifest(temporary)
            temporary.rename(out)
    except StriveError as error:
        raise type(error)(str(error).replace(str(temporary), str(out))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
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
