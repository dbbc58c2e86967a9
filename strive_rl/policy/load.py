"""A model name or folder → a policy on its device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoProcessor, GenerationConfig

from strive_data.common.console import echo
from strive_data.errors import UsageError
from strive_rl.common import distributed
from strive_rl.common.model_folder import reading
from strive_rl.common.preflight import first_process, require_model_folder
from strive_rl.common.progress import phase
from strive_rl.config import DEMOS, PolicySettings
from strive_rl.policy.architectures import ARCHITECTURES, experts
from strive_rl.policy.encode import prompt_form
from strive_rl.policy.layers import replace_layers
from strive_rl.policy.lora import add_adapters
from strive_rl.policy.policy import Policy


def load_policy(name: str, settings: PolicySettings, *, to_shard: bool = False) -> Policy:
    """Load a hub name, a folder, or "demo", the tiny model of this package; code from the hub is never run.

    With `to_shard`, `sharding.shard` follows: of several processes the first holds the weights, on the CPU,
    and the others their shapes. Raises UsageError where there is no such model, it is of no known
    architecture, or the device is absent.
    """
    phase(f"loading model {name}", always=True)
    source = model_source(name)
    device = choose_device(settings.device)
    architecture = ARCHITECTURES[read_config(name).model_type]
    dtype = choose_dtype(settings.dtype, device)
    first_device = device
    if to_shard and distributed.world_size() > 1:
        first_device = torch.device("cpu" if distributed.is_first() else "meta")
    model = _read_model(architecture.model_class, source, name, dtype, first_device)
    replace_layers(model)
    experts.register(model)
    processor = _read(AutoProcessor, source, name)
    freeze(model, settings)
    if settings.lora_rank:
        with torch.device("meta") if first_device.type == "meta" else nullcontext():
            add_adapters(model, settings)
    tokenizer = processor.tokenizer
    policy = Policy(
        model=model,
        processor=processor,
        architecture=architecture,
        settings=settings,
        device=device,
        suppressed=_suppressed(model, tokenizer).to(device),
        end_ids=_end_ids(model, tokenizer, name),
        name=name,
    )
    with reading(f"chat template of model {name}"):
        prompt_form(policy)
    return policy


def read_config(name: str) -> Any:
    """The config of a model, as in `load_policy`, without its weights. Raises UsageError as there."""
    config = _read(AutoConfig, model_source(name), name)
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UsageError(f"model {name}: it is a {config.model_type!r}, expected one of: {known}")
    return config


def token_side(name: str) -> int:
    """Pixels of the side of a video token, of which the processor makes the sides of frames multiples."""
    vision = read_config(name).vision_config
    return int(vision.patch_size * vision.spatial_merge_size)


def resized_frames(side: int, multiples: Mapping[str, int]) -> str:
    """A warning where the processor resizes frames once more: their sides are `multiples` of so many pixels,
    by the name of the build or setting. "" where it does not."""
    other = {name: multiple for name, multiple in multiples.items() if multiple % side}
    if not other:
        return ""
    made = " and ".join(map(str, sorted({*other.values()})))
    return (
        f"warning: {', '.join(other)}: sides of frames are multiples of {made} pixels, and this model reads "
        f"multiples of {side}: most are resized once more; build with decode.multiple={side} instead"
    )


def warn_if_resized(model: str, multiples: Mapping[str, int]) -> None:
    """Print `resized_frames` by the first process. Raises UsageError as `read_config`."""
    if first_process() and (text := resized_frames(token_side(model), multiples)):
        echo(text, err=True)


def choose_device(name: str) -> torch.device:
    """The device asked for; "auto" is CUDA where there is one. UsageError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"policy.device: got {name!r}, but there are {torch.cuda.device_count()} CUDA devices"
        )
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16; "auto" is float32 on the CPU and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def freeze(model: Any, settings: PolicySettings) -> None:
    """Freeze the vision tower unless it is trained; set up recomputation of activations where asked, which
    alone needs the training mode (these models have no dropout)."""
    model.model.visual.requires_grad_(settings.train_vision)
    model.eval()
    if settings.gradient_checkpointing:
        # transformers renamed the method after 5.17.
        name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        options = {f"{name}_checkpointing_kwargs": {"use_reentrant": False}}
        getattr(model, f"{name}_checkpointing_enable")(**options)


def model_source(name: str) -> str:
    """The folder or hub name that transformers loads. Raises UsageError for a folder that is absent."""
    if name in DEMOS:
        return str(files("strive_rl") / DEMOS[name])
    require_model_folder(name)
    return name


def _read(kind: Any, source: str, name: str, **options: Any) -> Any:
    """`from_pretrained`, with its failures in one line."""
    local = Path(source).is_dir()
    hint = "" if local else "without a network, give a model folder"
    with reading(f"model folder {name}" if local else f"model {name}", hint):
        return kind.from_pretrained(source, trust_remote_code=False, **options)


def _read_model(kind: Any, source: str, name: str, dtype: torch.dtype, device: torch.device) -> Any:
    """The model on its device; on the meta device nothing of its weights is read."""
    options = {"dtype": dtype, "attn_implementation": "sdpa"}
    if device.type != "meta":
        return _read(kind, source, name, **options).to(device)
    config = _read(AutoConfig, source, name)
    with device:
        model = kind._from_config(config, **options)
    with suppress(OSError):  # Not every model has the file.
        model.generation_config = GenerationConfig.from_pretrained(source, trust_remote_code=False)
    return model


def _end_ids(model: Any, tokenizer: Any, name: str) -> tuple[int, ...]:
    """Ids that end a completion: the tokenizer's, then those of the generation settings."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    ids = tuple(dict.fromkeys(i for i in [tokenizer.eos_token_id, *listed] if i is not None))
    size = model.config.text_config.vocab_size
    if not ids or any(type(i) is not int or not 0 <= i < size for i in ids):
        raise UsageError(
            f"model {name}: eos_token_id is {configured!r} in generation_config.json and "
            f"{tokenizer.eos_token_id!r} in the tokenizer, expected token ids from 0 to {size - 1}"
        )
    return ids


def _suppressed(model: Any, tokenizer: Any) -> torch.Tensor:
    """Bool [V]: vision tokens and ids that the tokenizer does not know."""
    config = model.config
    named = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    mask = torch.zeros(config.text_config.vocab_size, dtype=torch.bool)
    mask[len(tokenizer) :] = True
    mask[[getattr(config, name) for name in named]] = True
    pad = tokenizer.convert_tokens_to_ids("<|vision_pad|>")
    if isinstance(pad, int) and pad != tokenizer.unk_token_id:
        mask[pad] = True
    return mask
