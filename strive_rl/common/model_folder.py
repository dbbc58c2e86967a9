"""A folder of a model: its manifest, what of it is damaged, the names of settings that older readers know.

manifest.json has size and sha256 of each file, so that damage is found before it is used. It is written last,
under a checksum of its own. Folders of the first versions have none, nor the older names below: a checkpoint
with these names and no manifest has lost it, and counts as damaged.

transformers 5 has new names for a few settings, and drops the old ones. An older reader (4.57, and vLLM)
falls back to its own defaults without a word: no rotary sections, a tied head. Both names are written here;
version 5 reads either.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strive_data.common.files import (
    add_checksum,
    checksum_matches,
    file_sha256,
    json_bytes,
    sync_folder,
    write_bytes,
)
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_rl.common import jsonl

MANIFEST_FILE = "manifest.json"
STATE_FILE = "trainer.pt"  # of a checkpoint alone


def write_manifest(folder: Path) -> None:
    """Bring every file of the folder to the disk, and write its manifest."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_FILE)
    for path in paths:
        sync_folder(path)  # Of a file: its content.
    files = {path.name: {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in paths}
    write_bytes(folder / MANIFEST_FILE, json_bytes(add_checksum({"files": files})))
    sync_folder(folder)


def has_manifest(folder: Path) -> bool:
    """Whether the files of the folder can be checked."""
    return (folder / MANIFEST_FILE).is_file()


def has_lost_manifest(folder: Path) -> bool:
    """Whether it is a checkpoint that was written with a manifest, which is gone."""
    written = all((folder / name).is_file() for name in (STATE_FILE, *OLD_PROCESSORS.values()))
    return written and not has_manifest(folder)


def find_damage(folder: Path) -> Iterator[str]:
    """A line for each file that is not what the manifest says; nothing for a folder that never had one."""
    path = folder / MANIFEST_FILE
    if has_lost_manifest(folder):
        yield f"{path}: missing"
    elif (folder / STATE_FILE).is_file() and not (folder / PROCESSOR_FILE).is_file():
        yield f"{folder / PROCESSOR_FILE}: missing"  # every version wrote it
    if not has_manifest(folder):
        return
    try:
        body = jsonl.read_json(path, ["files"])
        intact = checksum_matches(path.read_bytes(), body)
    except UsageError as error:
        yield f"{error}: damaged"
        return
    if not intact:
        yield f"{path}: its own checksum does not match: damaged"
        return
    for name, wanted in body["files"].items():
        reason = _damage(folder / name, wanted)
        if reason:
            yield f"{folder / name}: {reason}"


def require_intact(folder: Path) -> None:
    """Raise DamagedError that names the first damaged file of the folder."""
    damage = next(find_damage(folder), None)
    if damage:
        raise DamagedError(damage)


def _damage(path: Path, wanted: dict[str, Any]) -> str | None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != wanted["size_bytes"]:
            return f"damaged: {size_bytes:,} bytes, expected {wanted['size_bytes']:,}"
        return None if file_sha256(path) == wanted["sha256"] else "damaged: its sha256 does not match"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


# Tokenizer classes of version 5 alone, and what reads the same tokenizer.json before.
OLD_TOKENIZERS = {"TokenizersBackend": "PreTrainedTokenizerFast"}
PROCESSOR_FILE = "processor_config.json"
# The parts of processor_config.json that had files of their own.
OLD_PROCESSORS = {
    "image_processor": "preprocessor_config.json",
    "video_processor": "video_preprocessor_config.json",
}
STANDARD_TOKENS = frozenset(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))


def add_older_names(folder: Path) -> None:
    """Write the names of transformers 4.57 beside those of version 5."""
    for name, change in (("config.json", _config), ("tokenizer_config.json", _tokenizer)):
        if (folder / name).is_file():
            jsonl.write_json(folder / name, change(jsonl.read_json(folder / name)))
    path = folder / PROCESSOR_FILE
    if path.is_file():
        processors = jsonl.read_json(path)
        for part, name in OLD_PROCESSORS.items():
            if part in processors and not (folder / name).exists():
                jsonl.write_json(folder / name, processors[part])


def _config(config: dict[str, Any]) -> dict[str, Any]:
    text = config.get("text_config")
    if not isinstance(text, dict):
        return config
    text = {"tie_word_embeddings": config.get("tie_word_embeddings", False)} | text
    rope = text.get("rope_parameters")
    if isinstance(rope, dict):
        theta = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
        text |= theta | {"rope_scaling": rope}
    dtype = {"torch_dtype": config["dtype"]} if "dtype" in config else {}
    return config | dtype | {"text_config": text}


def _tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    """Special tokens of version 5 are a list, and those with a name stand beside; before, the list had a key
    of its own and the names were a dictionary."""
    special = config.get("extra_special_tokens")
    named = {name: config[name] for name in config if name.endswith("_token") and name not in STANDARD_TOKENS}
    old: dict[str, Any] = {}
    if isinstance(special, list):
        old = {"extra_special_tokens": named, "additional_special_tokens": special}
    kind = config.get("tokenizer_class", "")
    return config | old | {"tokenizer_class": OLD_TOKENIZERS.get(kind, kind)}


MOST_CHARACTERS = 300


@contextmanager
def reading(what: str | Path, hint: str = "") -> Iterator[None]:
    """Raise UsageError "`what` cannot be read: reason" for what the block raises; `hint` says what to do.

    Only for blocks that read files of others: safetensors, tokenizers and jinja raise bare Exceptions,
    torch RuntimeErrors, damaged JSON gives KeyErrors and TypeErrors. Our own errors pass, and so does running
    out of memory on a device, which is not the file's fault.
    """
    try:
        yield
    except StriveError:
        raise
    except Exception as error:  # Any: the libraries promise nothing about what a damaged file raises.
        if type(error).__name__ == "OutOfMemoryError":
            raise
        tail = f"; {hint}" if hint else ""
        raise UsageError(f"{what} cannot be read: {one_line(error)}{tail}") from error


def one_line(error: BaseException) -> str:
    """Kind and first line of an error: libraries put paragraphs into theirs."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror} ({error.filename})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2]) if lines and lines[0].endswith(":") else (lines or [""])[0]
    text = text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
    plain = isinstance(error, OSError | ValueError) and text
    return text if plain else f"{type(error).__name__}: {text}".removesuffix(": ")


def load_state(folder: Path) -> dict[str, Any]:
    """The trainer's state of a checkpoint; only tensors and plain values are read, never code."""
    import torch

    with reading(folder / STATE_FILE):
        state: dict[str, Any] = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    return state
