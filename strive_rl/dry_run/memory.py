"""How many tokens a step reads and how many bytes it needs, from settings and a model's config alone.

Counts of weights, optimizer state, caches and masks are exact. Activations are counted by the tensors that
autograd keeps of a decoder layer, to within a third; those of the vision tower are not in it (a frozen tower
keeps nothing).

Shape letters: R rows of a backward pass, N tokens of a row, V vocabulary.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from strive_rl.common.preflight import require_engine
from strive_rl.config import EngineSettings, PolicySettings, TrainSettings
from strive_rl.policy.architectures import ARCHITECTURES
from strive_rl.policy.load import read_config
from strive_rl.policy.lora import TARGETS
from strive_rl.policy.policy import Architecture

FLOAT_BYTES, MASTER_BYTES, MOMENTS_BYTES = 4, 4, 8
# Python with torch and transformers loaded, measured on Linux.
PROCESS_BYTES = int(0.9 * 1024**3)
# A CPU has no fused attention: float32 scores [heads, N, N] of one prompt and what their backward pass makes.
SCORE_COPIES = 4
# A chunk of logits [tokens, V] in float32, and its gradient.
LOGIT_COPIES = 2
# And of [rows, G, V] that drawing a token makes: logits, masked, log-probabilities, probabilities, their
# cumulative sum in float64 (two), the terms of the entropy.
DRAW_COPIES = 7
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


def read_shape(name: str, engine: EngineSettings | None = None, processes: int = 1) -> ModelShape:
    """What an estimate needs to know of a model, without its weights. Raises UsageError as `load_policy` and
    `require_engine`."""
    config = packaged_config(name) or read_config(name)
    if engine:
        require_engine(engine, config.model_type, processes)
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


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Tokens of a prompt and of a row (a prompt with its G longest completions), and bytes on one device by
    what they hold: `sampling`, while completions are sampled, and `update`, at the start of a backward pass.

    Merged adapters are adapted weights with their adapters added, probabilities those that tokens are drawn
    by. On a CPU the process is the program's own, and attention scores are those without a fused kernel.
    `saving_bytes` are main memory while a checkpoint is written: on a CPU the process and what adapters are
    merged into, elsewhere a copy of the weights. Of several processes each holds all weights and its slice of
    them in sampling, its slice and two layers at a time in the update. With vLLM, what it takes is not
    counted, nor are merged adapters, keys and values, and probabilities.
    """

    video_tokens: int
    prompt_tokens: int
    row_tokens: int
    trainable_parameters: int
    sampling: Mapping[str, int]
    update: Mapping[str, int]
    saving_bytes: int

    @property
    def sampling_bytes(self) -> int:
        """What sampling holds together."""
        return sum(self.sampling.values())

    @property
    def update_bytes(self) -> int:
        """What the update holds together."""
        return sum(self.update.values())

    @property
    def peak_bytes(self) -> int:
        """The larger of the two."""
        return max(self.sampling_bytes, self.update_bytes)


def estimate(
    shape: ModelShape,
    settings: TrainSettings,
    *,
    frames: int,
    frame_pixels: int,
    bytes_a_weight: int,
    text_tokens: int = 200,
    processes: int = 1,
    on_cpu: bool = False,
) -> Estimate:
    """Estimate of a step for views of `frames` frames of `frame_pixels` at most (`policy.max_pixels` bounds
    them), questions of `text_tokens`, and weights of 2 (bfloat16) or 4 bytes (float32).

    Questions, optimizer state, gradients and a reference are spread over `processes`.
    """
    policy, rollout = settings.policy, settings.rollout
    patches = math.ceil(frames / (shape.frames_per_patch if policy.frame_pairs == "consecutive" else 1))
    video = patches * max(1, min(frame_pixels, policy.max_pixels) // shape.token_pixels)
    prompt = video + patches * shape.patch_text_tokens + text_tokens
    questions = math.ceil(settings.data.questions_per_step / processes)
    # Rows that one process reads together in sampling, and in the update.
    sampled = min(policy.prompts_per_pass, questions * settings.data.variants)
    updated = min(policy.groups_per_pass, questions) * settings.data.variants
    behind = rollout.completions * rollout.max_new_tokens
    row, learned = prompt + behind, updated * behind
    tower = 0 if policy.train_vision else shape.vision_parameters
    trained = shape.adapter_parameters * policy.lora_rank or shape.parameters - tower
    master = 0 if bytes_a_weight == FLOAT_BYTES else MASTER_BYTES
    weights = shape.parameters * bytes_a_weight
    # Put together from all processes at a time in the update: two decoder layers and what is in none.
    gathered = (2 * shape.layer_parameters + shape.outside_parameters) * bytes_a_weight
    apart = settings.algorithm.kl_beta > 0 and not policy.lora_rank
    optimizer = trained * (MOMENTS_BYTES + master) // processes
    merged = shape.adapted_parameters * bytes_a_weight if policy.lora_rank else 0
    process, own = PROCESS_BYTES if on_cpu else 0, rollout.engine == "builtin"
    chunk = min(learned, policy.logits_chunk_tokens)
    always = {"reference": weights // processes if apart else 0, "optimizer": optimizer}
    return Estimate(
        video_tokens=video,
        prompt_tokens=prompt,
        row_tokens=row,
        trainable_parameters=trained,
        sampling={
            "process": process,
            "weights": weights + (weights // processes if processes > 1 else 0),
            **always,
            **(_loop(shape, sampled, row, rollout.completions, bytes_a_weight, merged) if own else {}),
        },
        update={
            "process": process,
            "weights": weights // processes + (gathered if processes > 1 else 0),
            **always,
            "gradients": trained * (bytes_a_weight + master) // processes,
            "activations": _activations(shape, policy, updated * prompt + learned, learned, bytes_a_weight),
            "logits": LOGIT_COPIES * chunk * shape.vocabulary * FLOAT_BYTES,
            "attention scores": SCORE_COPIES * shape.heads * prompt**2 * FLOAT_BYTES if on_cpu else 0,
        },
        saving_bytes=weights + (process + optimizer + merged if on_cpu else 0),
    )


def _loop(
    shape: ModelShape, rows: int, tokens: int, completions: int, value: int, merged: int
) -> dict[str, int]:
    """What the builtin sampling loop holds for this many prompts, each with its completions."""
    key_values = 2 * shape.layers * shape.key_value_heads * shape.head_width * value
    state = shape.linear.state_bytes(value)
    return {
        "merged adapters": merged,
        "keys and values": rows * (tokens * key_values + completions * state),
        "probabilities": DRAW_COPIES * rows * completions * shape.vocabulary * FLOAT_BYTES,
    }


def _activations(shape: ModelShape, policy: PolicySettings, tokens: int, behind: int, value: int) -> int:
    """What is kept for the backward pass, `behind` of the tokens in completions: all of every layer, the last
    one with keys and values alone of the prompts; or the inputs of all layers and all of one."""
    projected = (2 * shape.heads + 2 * shape.key_value_heads) * shape.head_width
    # Queries and keys before and after rotation; with two norms (input and float32 copy), gate, up, and two
    # steps of their product; and each expert's input and output.
    experts = 2 * shape.routed * shape.hidden
    whole = 6 * shape.hidden + 4 * shape.intermediate + experts
    if policy.gradient_checkpointing:
        at_work = value * (whole + 2 * projected)
        if shape.linear.layers:
            at_work = max(at_work, value * whole + shape.linear.activation_bytes(value))
        return tokens * (value * (shape.layers + shape.linear.layers) * shape.hidden + at_work)
    # What norms and gates make is made again, but for that of experts.
    outer = 2 * shape.hidden + (4 if shape.routed else 2) * shape.intermediate + experts
    layer = value * outer + 3 * value * projected // 2
    linear = value * outer + shape.linear.activation_bytes(value)
    last = tokens * value * (shape.hidden + 3 * shape.key_value_heads * shape.head_width) + behind * layer
    return tokens * ((shape.layers - 1) * layer + shape.linear.layers * linear) + last
