"""A model folder as transformers 5 writes it → one that transformers 4.57 and vLLM read to the same model.

Version 5 has new names for a few settings, and drops the old ones. An older reader then falls back to its own
defaults without a word: no rotary sections, a tied head. Both names are written here; version 5 reads either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from strive_rl.common import jsonl

# Tokenizer classes of version 5 alone, and what reads the same tokenizer.json before.
OLD_TOKENIZERS = {"TokenizersBackend": "PreTrainedTokenizerFast"}
# The parts of processor_config.json that had files of their own.
OLD_PROCESSORS = {
    "image_processor": "preprocessor_config.json",
    "video_processor": "video_preprocessor_config.json",
}


def add_older_names(folder: Path) -> None:
    """Write the names of transformers 4.57 beside those of version 5."""
    for name, change in (("config.json", _config), ("tokenizer_config.json", _tokenizer)):
        if (folder / name).is_file():
            jsonl.write_json(folder / name, change(jsonl.read_json(folder / name)))
    path = folder / "processor_config.json"
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
    named = {name: config[name] for name in config if name.endswith("_token") and name not in _STANDARD}
    old: dict[str, Any] = {}
    if isinstance(special, list):
        old = {"extra_special_tokens": named, "additional_special_tokens": special}
    kind = config.get("tokenizer_class", "")
    return config | old | {"tokenizer_class": OLD_TOKENIZERS.get(kind, kind)}


_STANDARD = frozenset(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
