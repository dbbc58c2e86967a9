"""How many tokens a step reads and how many bytes it needs, from settings and a model's config alone.

Counts of weights, optimizer state, caches and masks are exact. Activations are counted by the tensors that
autograd keeps of a decoder layer, to within a third; those of the vision tower are not in it (a frozen tower
keeps nothing).

Shape letters: R rows of a backward pass, N tokens of a row, V vocabulary.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch

from strive_rl.config import PolicySettings, TrainSettings
from strive_rl.policy.architectures import ARCHITECTURES
from strive_rl.policy.load import read_config
from strive_rl.policy.lora import TARGETS
from strive_rl.policy.policy import Architecture

# Columns that transformers' gated delta rule takes together, and how many tensors of the width of a key, of a
# value and of those columns autograd keeps of each token and value head of a linear layer, in float32.
CHUNK = 64
LINEAR_KEYS, LINEAR_VALUES, LINEAR_CHUNKS = 10, 5, 5
MASTER_BYTES, MOMENTS_BYTES, FLOAT_BYTES = 4, 8, 4
# A chunk of logits [tokens, V] in float32, and its gradient.
LOGIT_COPIES = 2
# And of [rows, G, V] that drawing a token makes: logits, masked, log-probabilities, probabilities, their
# cumulative sum in float64 (two), the terms of the entropy.
DRAW_COPIES = 7


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
    values; `linear` describes the others.
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
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    token_pixels: int
    frames_per_patch: int
    patch_text_tokens: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Tokens of a prompt, of a row in sampling (a prompt with its G longest completions) and of a row in the
    update, and bytes on one device.

    `merged_bytes` (adapted weights with their adapters added), `cache_bytes` and `draw_bytes` (the
    probabilities that tokens are drawn by) in sampling; `gradient_bytes`, `activation_bytes` and
    `logit_bytes` in the update. Of several processes each holds all weights and its slice of them in
    sampling, its slice and two layers at a time in the update.
    """

    video_tokens: int
    prompt_tokens: int
    row_tokens: int
    update_row_tokens: int
    trainable_parameters: int
    weight_bytes: int
    update_weight_bytes: int
    reference_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    merged_bytes: int
    cache_bytes: int
    draw_bytes: int
    activation_bytes: int
    logit_bytes: int

    @property
    def sampling_parts(self) -> dict[str, int]:
        """What is held while completions are sampled."""
        return {
            "weights": self.weight_bytes,
            "reference": self.reference_bytes,
            "optimizer": self.optimizer_bytes,
            "merged adapters": self.merged_bytes,
            "keys and values": self.cache_bytes,
            "probabilities": self.draw_bytes,
        }

    @property
    def update_parts(self) -> dict[str, int]:
        """What is held at the start of a backward pass."""
        return {
            "weights": self.update_weight_bytes,
            "reference": self.reference_bytes,
            "optimizer": self.optimizer_bytes,
            "gradients": self.gradient_bytes,
            "activations": self.activation_bytes,
            "logits": self.logit_bytes,
        }

    @property
    def sampling_bytes(self) -> int:
        """Sum of `sampling_parts`."""
        return sum(self.sampling_parts.values())

    @property
    def update_bytes(self) -> int:
        """Sum of `update_parts`."""
        return sum(self.update_parts.values())

    @property
    def peak_bytes(self) -> int:
        """The larger of the two."""
        return max(self.sampling_bytes, self.update_bytes)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What one process reads together: rows of a pass in sampling and in the update, and the completion
    tokens behind a row's prompt in each."""

    sampled: int
    sampled_behind: int
    updated: int
    updated_behind: int


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
        intermediate=text.intermediate_size,
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


def read_shape(name: str) -> ModelShape:
    """What an estimate needs to know of a model, without its weights. Raises UsageError as `load_policy`."""
    config = read_config(name)
    return model_shape(config, ARCHITECTURES[config.model_type])


def estimate(
    shape: ModelShape,
    settings: TrainSettings,
    *,
    frames: int,
    frame_pixels: int,
    bytes_a_weight: int,
    text_tokens: int = 200,
    processes: int = 1,
) -> Estimate:
    """Estimate of a step for views of `frames` frames of `frame_pixels` at most (`policy.max_pixels` bounds
    them), questions of `text_tokens`, and weights of 2 (bfloat16) or 4 bytes (float32).

    Questions, optimizer state, gradients and a reference are spread over `processes`.
    """
    policy = settings.policy
    video, patches = _video_tokens(shape, policy, frames, frame_pixels)
    prompt = video + patches * shape.patch_text_tokens + text_tokens
    rows = _rows(settings, processes)
    row, update_row = prompt + rows.sampled_behind, prompt + rows.updated_behind
    trained = _trainable(shape, policy)
    master = 0 if bytes_a_weight == FLOAT_BYTES else MASTER_BYTES
    weights = shape.parameters * bytes_a_weight
    apart = settings.algorithm.kl_beta > 0 and not policy.lora_rank
    key_values = 2 * shape.layers * shape.key_value_heads * shape.head_width * bytes_a_weight
    return Estimate(
        video_tokens=video,
        prompt_tokens=prompt,
        row_tokens=row,
        update_row_tokens=update_row,
        trainable_parameters=trained,
        weight_bytes=weights + (weights // processes if processes > 1 else 0),
        update_weight_bytes=weights
        if processes == 1
        else weights // processes + _gathered(shape, bytes_a_weight),
        reference_bytes=weights // processes if apart else 0,
        optimizer_bytes=trained * (MOMENTS_BYTES + master) // processes,
        gradient_bytes=trained * (bytes_a_weight + master) // processes,
        merged_bytes=shape.adapted_parameters * bytes_a_weight if policy.lora_rank else 0,
        cache_bytes=rows.sampled
        * (row * key_values + settings.rollout.completions * shape.linear.state_bytes(bytes_a_weight)),
        draw_bytes=DRAW_COPIES * rows.sampled * settings.rollout.completions * shape.vocabulary * FLOAT_BYTES,
        activation_bytes=_activations(
            shape, policy, rows.updated * update_row, rows.updated * rows.updated_behind, bytes_a_weight
        ),
        logit_bytes=LOGIT_COPIES * _logits(shape, policy, rows.updated * rows.updated_behind),
    )


def _rows(settings: TrainSettings, processes: int) -> _Rows:
    """Under `clean` all responses of a question stand behind one prompt, under `cross` behind each."""
    policy, answers, variants = settings.policy, settings.rollout, settings.data.variants
    condition = settings.algorithm.logprob_condition
    questions = math.ceil(settings.data.questions_per_step / processes)
    behind = answers.completions * answers.max_new_tokens
    together = min(policy.groups_per_pass, questions)
    return _Rows(
        sampled=min(policy.prompts_per_pass, questions * variants),
        sampled_behind=behind,
        updated=together if condition == "clean" else together * variants,
        updated_behind=behind if condition == "own" else behind * variants,
    )


def _gathered(shape: ModelShape, bytes_a_weight: int) -> int:
    """Weights that are put together from all processes at a time: two decoder layers and what is in none."""
    return (2 * shape.layer_parameters + shape.outside_parameters) * bytes_a_weight


def _video_tokens(shape: ModelShape, policy: PolicySettings, frames: int, pixels: int) -> tuple[int, int]:
    """(video tokens of a view, its temporal patches)."""
    merged = 1 if policy.frame_pairs != "consecutive" else shape.frames_per_patch
    patches = math.ceil(frames / merged)
    return patches * max(1, min(pixels, policy.max_pixels) // shape.token_pixels), patches


def _trainable(shape: ModelShape, policy: PolicySettings) -> int:
    if policy.lora_rank:
        return shape.adapter_parameters * policy.lora_rank
    return shape.parameters - (0 if policy.train_vision else shape.vision_parameters)


def _activations(shape: ModelShape, policy: PolicySettings, tokens: int, behind: int, value: int) -> int:
    """What is kept for the backward pass, `behind` of the tokens in completions: all of every layer, the last
    one with keys and values alone of the prompts; or the inputs of all layers and all of one."""
    projected = (2 * shape.heads + 2 * shape.key_value_heads) * shape.head_width
    # Two norms (input and float32 copy), gate, up, their product.
    outer = 6 * shape.hidden + 4 * shape.intermediate
    # Queries and keys before and after rotation.
    layer = value * (outer + 2 * projected)
    linear = value * outer + shape.linear.activation_bytes(value)
    layers = shape.layers + shape.linear.layers
    if policy.gradient_checkpointing:
        at_work = max(layer, linear) if shape.linear.layers else layer
        return tokens * (value * layers * shape.hidden + at_work)
    last = tokens * value * (3 * shape.hidden + 4 * shape.key_value_heads * shape.head_width) + behind * layer
    return tokens * ((shape.layers - 1) * layer + shape.linear.layers * linear) + last


def _logits(shape: ModelShape, policy: PolicySettings, tokens: int) -> int:
    return min(tokens, policy.logits_chunk_tokens) * shape.vocabulary * FLOAT_BYTES
