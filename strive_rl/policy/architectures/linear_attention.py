"""Gated linear attention of Qwen3.5's layers (Gated DeltaNet, arXiv 2412.06464) with shared prompts.

Such a layer has no keys and values of past tokens. It carries a state from token to token: the last inputs of
a short convolution, and a matrix S for each head, S ← e^g·S and S ← S + β·k(v − kᵀS)ᵀ. A prompt is read once.
Each of its completions starts from the prompt's state: copied in sampling, and with its gradient in the
update, so the gradients of all completions of a prompt meet in its state.

The recurrence itself is transformers' own function, which takes the kernels of the `fla` package where that
is installed.

Shape letters: B sequences, L tokens of the longest, C channels of the convolution, K columns of its kernel,
H value heads, D width of a key head, V width of a value head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.functional import softplus
from transformers.models.qwen3_5.modeling_qwen3_5 import (
    causal_conv1d_fn,
    torch_chunk_gated_delta_rule,
    torch_recurrent_gated_delta_rule,
)


class State(NamedTuple):
    """What a layer knows of the tokens before: `conv` [B, K−1, C], the inputs of the convolution, and
    `matrix` float32 [B, H, D, V]."""

    conv: torch.Tensor
    matrix: torch.Tensor

    def of(self, rows: torch.Tensor) -> State:
        """The states of these sequences, int64 [B']; differentiable."""
        return State(*(each[rows] for each in self))


class Inputs(NamedTuple):
    """What the recurrence reads of each token: `mixed` [B, L, C], queries, keys and values before the
    convolution; `beta` [B, L, H], how much is written; `decay` float32 [B, L, H], the logarithm g."""

    mixed: torch.Tensor
    beta: torch.Tensor
    decay: torch.Tensor

    def at(self, grid: torch.Tensor, valid: torch.Tensor) -> Inputs:
        """The tokens of one packed row at `grid` [B, L]; those that are not `valid` change no state."""
        mixed, beta, decay = (each[0][grid] for each in self)
        hidden = ~valid[..., None]
        return Inputs(mixed, beta.masked_fill(hidden, 0), decay.masked_fill(hidden, 0))


def gated_delta(
    mixer: Any, inputs: Inputs, state: State | None = None, lengths_B: torch.Tensor | None = None
) -> tuple[torch.Tensor, State]:
    """One layer over sequences of tokens: outputs [B, L, H, V] and the state after `lengths_B` tokens of each
    (default all). No state before the first token is one of zeros. Tokens behind a sequence's length must be
    made harmless before, as in `Inputs.at`."""
    (sequences, length, channels), before = inputs.mixed.shape, int(mixer.conv_kernel_size) - 1
    if state is None:
        shape = (sequences, mixer.num_v_heads, mixer.head_k_dim, mixer.head_v_dim)
        conv = inputs.mixed.new_zeros(sequences, before, channels)
        state = State(conv, inputs.decay.new_zeros(shape))
    fed = torch.cat([state.conv, inputs.mixed], dim=1)
    convolved = causal_conv1d_fn(
        fed.transpose(1, 2),
        mixer.conv1d.weight.squeeze(1),
        mixer.conv1d.bias,
        activation=mixer.activation,
    )[:, :, before:].transpose(1, 2)
    sizes = [mixer.key_dim, mixer.key_dim, mixer.value_dim]
    heads = (mixer.num_k_heads, mixer.num_k_heads, mixer.num_v_heads)
    query, key, value = (
        part.unflatten(-1, (count, -1))
        for part, count in zip(convolved.split(sizes, dim=-1), heads, strict=True)
    )
    # A key head serves several value heads; transformers repeats them itself only after 5.17.
    times = mixer.num_v_heads // mixer.num_k_heads
    query, key = query.repeat_interleave(times, dim=2), key.repeat_interleave(times, dim=2)
    # The kernel for one token has no backward pass.
    one = length == 1 and not torch.is_grad_enabled()
    run = torch_recurrent_gated_delta_rule if one else torch_chunk_gated_delta_rule
    out, matrix = run(
        query, key, value, g=inputs.decay, beta=inputs.beta, initial_state=state.matrix,
        output_final_state=True, use_qk_l2norm_in_kernel=True,
    )  # fmt: skip
    if lengths_B is None:
        return out, State(fed[:, length:], matrix)
    columns = lengths_B[:, None] + torch.arange(before, device=fed.device)
    return out, State(fed.gather(1, columns[..., None].expand(-1, -1, channels)), matrix)


def with_rows(kind: Any) -> Callable[..., Any]:
    """The forward of a linear layer that asks the `rows` of a pass (`PackedRow`, `Decoding`) for
    states, and without rows is that of its class."""

    def forward(mixer: Any, hidden_states: torch.Tensor, *, rows: Any = None, **options: Any) -> Any:
        if rows is None:
            return kind.forward(mixer, hidden_states, **options)
        inputs = Inputs(
            mixed=mixer.in_proj_qkv(hidden_states),
            beta=mixer.in_proj_b(hidden_states).sigmoid(),
            decay=-mixer.A_log.float().exp()
            * softplus(mixer.in_proj_a(hidden_states).float() + mixer.dt_bias),
        )
        out = rows.linear(mixer, inputs)
        gate = mixer.in_proj_z(hidden_states).reshape(-1, mixer.head_v_dim)
        normed = mixer.norm(out.reshape(-1, mixer.head_v_dim), gate)
        return mixer.out_proj(normed.reshape(*hidden_states.shape[:-1], -1))

    return forward
