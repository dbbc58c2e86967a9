"""What of a model tokens and memory depend on, from its config: no weight is made or read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from strive_rl.common.preflight import require_engine
from strive_rl.policy.architectures import ARCHITECTURES
from strive_rl.policy.load import read_config
from strive_rl.policy.lora import TARGETS
from strive_rl.policy.policy import Architecture

FLOAT_BYTES = 4
# What follows the size in a hub name.
EDITION = re.compile("-(Instruct|Thinking|Base)$")
# Columns that transformers' gated delta rule takes together, and how many tensors of the width of a key, of a
# value and of those columns autograd keeps of each token and value head of a linear layer, in float32.
CHUNK = 64
LINEAR_KEYS, LINEAR_VALUES, LINEAR_CHUNKS = 10, 5, 5


@dataclass(frozen=True, kw_only=True)
class LinearShape:
    """The layers with linear attention: how many, their value heads, widths of a key and of a value, channels
    and earlier columns of the convolution."""

    layers: int = 0
    heads: int = 0
    key: int = 0
    value: int = 0
    channels: int = 0
    before: int = 0

    def state_bytes(self, bytes_a_weight: int) -> int:
        """Of one sequence."""
        matrix = self.heads * self.key * self.value * FLOAT_BYTES
        return self.layers * (matrix + self.channels * self.before * bytes_a_weight)

    def activation_bytes(self, bytes_a_weight: int) -> int:
        """Of a token in one layer: projections, and what the recurrence keeps without a kernel of `fla`."""
        head = LINEAR_KEYS * self.key + LINEAR_VALUES * self.value + LINEAR_CHUNKS * CHUNK
        matrices = self.heads * (head + self.key * self.value // CHUNK) * FLOAT_BYTES
        return matrices + (4 * self.channels + 4 * self.heads * self.value) * bytes_a_weight


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What of a model tokens and memory depend on.

    `parameters` of all, `vision_parameters` of the tower among them, `adapter_parameters` of low-rank
    adapters of rank 1, `adapted_parameters` of the weights that they are added to. `layer_parameters` of
    the largest decoder layer, `outside_parameters` of neither a layer nor the tower. `layers` have keys and
    values; `linear` describes the others. `intermediate` is the width behind attention that one token takes,
    of its `routed` experts together.
    A video token shows `token_pixels` of `frames_per_patch` frames; `patch_text_tokens`
    are written around each temporal patch.
    """

    parameters: int
    vision_parameters: int
    adapter_parameters: int
    adapted_parameters: int
    layer_parameters: int
    outside_parameters: int
    layers: int
    linear: LinearShape
    hidden: int
    intermediate: int
    routed: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    token_pixels: int
    frames_per_patch: int
    patch_text_tokens: int


def model_shape(config: Any, architecture: Architecture) -> ModelShape:
    """The shape of a model by its config; its weights are counted without being made."""
    with torch.device("meta"):
        model = architecture.model_class(config)
    linear = {name: each for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)}
    adapted = [each for name, each in linear.items() if re.fullmatch(TARGETS, name)]
    text, vision = config.text_config, config.vision_config
    mixers = linear_shape(text)
    decoder = [_count(layer) for layer in model.model.language_model.layers]
    total, tower = _count(model), _count(model.model.visual)
    return ModelShape(
        parameters=total,
        vision_parameters=tower,
        adapter_parameters=sum(each.in_features + each.out_features for each in adapted),
        adapted_parameters=sum(each.weight.numel() for each in adapted),
        layer_parameters=max(decoder),
        outside_parameters=total - tower - sum(decoder),
        layers=text.num_hidden_layers - mixers.layers,
        linear=mixers,
        hidden=text.hidden_size,
        intermediate=_intermediate(text),
        routed=getattr(text, "num_experts_per_tok", 0),
        heads=text.num_attention_heads,
        key_value_heads=text.num_key_value_heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        vocabulary=text.vocab_size,
        token_pixels=(vision.patch_size * vision.spatial_merge_size) ** 2,
        frames_per_patch=vision.temporal_patch_size,
        patch_text_tokens=architecture.patch_text_tokens,
    )


def _count(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def _intermediate(text: Any) -> int:
    """The width behind attention of one token: of its experts together, where there are some."""
    if not getattr(text, "num_experts_per_tok", 0):
        return int(text.intermediate_size)
    shared = getattr(text, "shared_expert_intermediate_size", 0)
    return int(text.num_experts_per_tok * text.moe_intermediate_size + shared)


def linear_shape(text: Any) -> LinearShape:
    """The linear layers of a language model's config."""
    layers = (getattr(text, "layer_types", None) or []).count("linear_attention")
    if not layers:
        return LinearShape()
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    return LinearShape(
        layers=layers,
        heads=text.linear_num_value_heads,
        key=text.linear_key_head_dim,
        value=text.linear_value_head_dim,
        channels=2 * keys + values,
        before=text.linear_conv_kernel_dim - 1,
    )


def read_shape(name: str, engine: str = "builtin") -> ModelShape:
    """What an estimate needs to know of a model, without its weights. Raises UsageError as `load_policy` and
    for a model that the engine does not take."""
    config = packaged_config(name) or read_config(name)
    require_engine(engine, config.model_type)
    return model_shape(config, ARCHITECTURES[config.model_type])


def packaged_config(name: str) -> Any:
    """The config of a published model by its hub name, as far as sizes depend on it; None for other names."""
    values = published_sizes().get(EDITION.sub("", name))
    if values is None or Path(name).exists():
        return None
    return AutoConfig.for_model(**values)


def published_sizes() -> dict[str, Any]:
    """The sizes in the public config.json files by hub name; editions of a size share them."""
    known: dict[str, Any] = json.loads(files("strive_rl.dry_run").joinpath("models.json").read_text("utf-8"))
    return known
