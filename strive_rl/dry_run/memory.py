"""How many tokens a step reads and how many bytes it needs, from settings and a model's config alone.

Counts of weights, optimizer state, caches and masks are exact. Activations are counted by the tensors that
autograd keeps of a decoder layer, to within a third; those of the vision tower are not in it (a frozen tower
keeps nothing).

Shape letters: R rows of a backward pass, N tokens of a row, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from strive_rl.config import PolicySettings, TrainSettings
from strive_rl.dry_run.shape import FLOAT_BYTES, ModelShape

MASTER_BYTES, MOMENTS_BYTES = 4, 8
# Python with torch and transformers loaded, measured on Linux.
PROCESS_BYTES = int(0.9 * 1024**3)
# A CPU has no fused attention: float32 scores [heads, N, N] of one prompt and what their backward pass makes.
SCORE_COPIES = 4
# A chunk of logits [tokens, V] in float32, and its gradient.
LOGIT_COPIES = 2
# And of [rows, G, V] that drawing a token makes: logits, masked, log-probabilities, probabilities, their
# cumulative sum in float64 (two), the terms of the entropy.
DRAW_COPIES = 7


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Tokens of a prompt and of a row (a prompt with its G longest completions), and bytes on one device.

    `merged_bytes` (adapted weights with their adapters added), `cache_bytes` and `draw_bytes` (the
    probabilities that tokens are drawn by) in sampling; `gradient_bytes`, `activation_bytes` and
    `logit_bytes` in the update. On a CPU `process_bytes` are the program's own, and `score_bytes` those of
    attention without a fused kernel. `saving_bytes` are main memory while a checkpoint is written: on a CPU
    the process and what adapters are merged into, elsewhere a copy of the weights. Of several processes each
    holds all weights and its slice of them in sampling, its slice and two layers at a time in the update.
    With vLLM, what it takes is not counted; `merged_bytes`, `cache_bytes` and `draw_bytes` are then 0.
    """

    video_tokens: int
    prompt_tokens: int
    row_tokens: int
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
    saving_bytes: int
    process_bytes: int = 0
    score_bytes: int = 0

    @property
    def sampling_parts(self) -> dict[str, int]:
        """What is held while completions are sampled."""
        return {
            "process": self.process_bytes,
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
            "process": self.process_bytes,
            "weights": self.update_weight_bytes,
            "reference": self.reference_bytes,
            "optimizer": self.optimizer_bytes,
            "gradients": self.gradient_bytes,
            "activations": self.activation_bytes,
            "logits": self.logit_bytes,
            "attention scores": self.score_bytes,
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
    trained = shape.parameters - (0 if policy.train_vision else shape.vision_parameters)
    if policy.lora_rank:
        trained = shape.adapter_parameters * policy.lora_rank
    master = 0 if bytes_a_weight == FLOAT_BYTES else MASTER_BYTES
    weights = shape.parameters * bytes_a_weight
    # Put together from all processes at a time in the update: two decoder layers and what is in none.
    gathered = (2 * shape.layer_parameters + shape.outside_parameters) * bytes_a_weight
    apart = settings.algorithm.kl_beta > 0 and not policy.lora_rank
    key_values = 2 * shape.layers * shape.key_value_heads * shape.head_width * bytes_a_weight
    state = shape.linear.state_bytes(bytes_a_weight)
    optimizer = trained * (MOMENTS_BYTES + master) // processes
    merged = shape.adapted_parameters * bytes_a_weight if policy.lora_rank else 0
    process = PROCESS_BYTES if on_cpu else 0
    own = rollout.engine == "builtin"
    chunk = min(learned, policy.logits_chunk_tokens)
    return Estimate(
        video_tokens=video,
        prompt_tokens=prompt,
        row_tokens=row,
        trainable_parameters=trained,
        weight_bytes=weights + (weights // processes if processes > 1 else 0),
        update_weight_bytes=weights // processes + (gathered if processes > 1 else 0),
        reference_bytes=weights // processes if apart else 0,
        optimizer_bytes=optimizer,
        gradient_bytes=trained * (bytes_a_weight + master) // processes,
        merged_bytes=merged if own else 0,
        cache_bytes=sampled * (row * key_values + rollout.completions * state) if own else 0,
        draw_bytes=DRAW_COPIES * sampled * rollout.completions * shape.vocabulary * FLOAT_BYTES if own else 0,
        activation_bytes=_activations(shape, policy, updated * prompt + learned, learned, bytes_a_weight),
        logit_bytes=LOGIT_COPIES * chunk * shape.vocabulary * FLOAT_BYTES,
        saving_bytes=weights + (process + optimizer + merged if on_cpu else 0),
        process_bytes=process,
        score_bytes=SCORE_COPIES * shape.heads * prompt**2 * FLOAT_BYTES if on_cpu else 0,
    )


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
