"""The decode loop's state: keys and values of prompts and completions, states of linear layers, and one step
with static shapes.

The prompts' keys and values are held once a prompt, those of the completions in buffers as long as the
longest completion may get. A step feeds one token a completion: its query heads see the prompt's keys, folded
over the prompt's completions, and the completion's own keys, both under a mask, joined by log-sum-exp. Which
step it is, is a number on the device, so a CUDA graph of one step is replayed for all steps of a width. The
state of a linear layer after the prompt is repeated for its completions and moves on in place.

Completions that have ended leave: the state is cut down to the rows that go on.

Shape letters: P prompts, G completions of each, R = P·G rows, S columns of the longest prompt, T tokens of a
completion, A key heads, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch

from strive_rl.policy.architectures.linear_attention import Inputs, gated_delta
from strive_rl.policy.kernels import attend, fold, join
from strive_rl.policy.packing import KeyValues, PackedRow


class Decoding:
    """State of the decode loop; as `rows` of a forward pass, the attention of one step.

    `step` int64 [1]: the tokens that every row has fed before; `width`: how many columns of the completions'
    buffers a step looks at, more than `step`; `capacity`: how many they have; `next_position` int64 [P].
    """

    def __init__(self, row: PackedRow, completions: int, tokens: int) -> None:
        device, (example, _) = row.kept.device, next(iter(row.keys_values.values()))
        self.prompts = row.keys_values
        lengths = [end - start for start, end in row.prompts]
        columns = torch.arange(example.shape[2], device=device)
        hidden = columns >= torch.tensor(lengths, device=device)[:, None]
        self._prompt_mask = _additive(hidden, example.dtype)[:, None, None] if hidden.any() else None
        _, heads, _, width = example.shape
        shape = (len(lengths) * completions, heads, tokens, width)
        # Zeros, since a masked place still counts 0 times what it holds.
        self.own: dict[int, KeyValues] = {
            layer: (example.new_zeros(shape), example.new_zeros(shape)) for layer in row.keys_values
        }
        prompt_of = torch.arange(len(lengths), device=device).repeat_interleave(completions)
        self.states = {layer: state.of(prompt_of) for layer, state in row.states.items()}
        self.next_position = torch.tensor(row.following, device=device)
        self.completions = completions
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.width, self.capacity = 0, tokens
        self._own_mask, self._dtype = torch.zeros(0), example.dtype

    @property
    def positions(self) -> torch.Tensor:
        """Position ids int64 [3, P, G] of the tokens of this step."""
        position = (self.next_position + self.step)[:, None].expand(-1, self.completions)
        return position.expand(3, -1, -1)

    def prepare(self) -> None:
        """Make the mask of this step, which all layers use."""
        columns = torch.arange(self.width, device=self.step.device)
        self._own_mask = _additive(columns > self.step, self._dtype)[None, None, None]

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attention [P, G, H, D] of queries [P, H, G, D]; keys and values [P, A, G, D] are stored first."""
        prompts, heads, completions, width = query.shape
        shared = key.shape[1]
        for buffer, new in zip(self.own[layer], (key, value), strict=True):
            # At this step's column of [R, A, T, D].
            buffer.index_copy_(2, self.step, new.transpose(1, 2).flatten(0, 1)[:, :, None])
        mask = self._prompt_mask
        if mask is not None:
            mask = mask.expand(-1, -1, heads // shared * completions, -1)
        out, lse = attend(fold(query, shared), *self.prompts[layer], scale=scale, mask=mask)
        own_query = query.transpose(1, 2).reshape(prompts * completions, shared, heads // shared, width)
        own_out, own_lse = attend(
            own_query, *(each[:, :, : self.width] for each in self.own[layer]), scale=scale,
            mask=self._own_mask.expand(-1, -1, heads // shared, -1),
        )  # fmt: skip
        # Both as [P, G, H].
        out = out.view(prompts, heads, completions, width).transpose(1, 2)
        lse = lse.reshape(prompts, heads, completions).transpose(1, 2)
        own_out, own_lse = own_out.view_as(out), own_lse.reshape(lse.shape)
        attended, _ = join(out, lse, own_out, own_lse)
        return attended.to(query.dtype)

    def linear(self, mixer: Any, inputs: Inputs) -> torch.Tensor:
        """Outputs [P, G, H, V] of one token a row; the states of the layer move on."""
        prompts, completions = inputs.beta.shape[:2]
        state = self.states[mixer.layer_idx]
        # [P, G] tokens as [P·G, 1].
        out, after = gated_delta(mixer, Inputs(*(each.flatten(0, 1)[:, None] for each in inputs)), state)
        state.conv.copy_(after.conv)
        state.matrix.copy_(after.matrix)
        return out.view(prompts, completions, *out.shape[2:])

    def keep(self, prompts: torch.Tensor, rows: torch.Tensor, completions: int) -> None:
        """Go on with these prompts, int64 [P'], and these rows, int64 [P'·completions], in their order."""
        self.prompts = {layer: (k[prompts], v[prompts]) for layer, (k, v) in self.prompts.items()}
        self.own = {layer: (k[rows], v[rows]) for layer, (k, v) in self.own.items()}
        self.states = {layer: state.of(rows) for layer, state in self.states.items()}
        if self._prompt_mask is not None:
            self._prompt_mask = self._prompt_mask[prompts]
        self.next_position, self.completions = self.next_position[prompts], completions


def _additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0, and −∞ where `hidden`."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, -torch.inf)
