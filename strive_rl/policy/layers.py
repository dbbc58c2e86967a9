"""Parts of transformers' models that are replaced, in place, by equal ones that compute less.

language model      attention by the `rows` of a pass (a `packing.PackedAttention` or a `decode.Decoding`)
last decoder layer  the kept columns of a packed row alone
linear attention    by the `rows` of a pass too (`architectures.linear_attention`)
vision attention    all windows of one size in one call, not one by one
patch embedding     a matrix product, not a convolution whose stride is its kernel
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from strive_rl.policy.architectures import linear_attention
from strive_rl.policy.packing import PackedAttention

TEXT = "strive_rows"
# "flash" in the name makes transformers pass all windows at once.
VISION = "strive_flash_windows"


def replace_layers(model: Any) -> None:
    """Replace the parts of `model`."""
    AttentionInterface.register(TEXT, rows_attention)
    AttentionMaskInterface.register(TEXT, sdpa_mask)
    AttentionInterface.register(VISION, window_attention)
    model.set_attn_implementation({"text_config": TEXT, "vision_config": VISION})
    patch_embed = model.model.visual.patch_embed
    patch_embed.forward = MethodType(_embed_patches, patch_embed)
    layers = model.model.language_model.layers
    layers[-1].__class__ = _narrow_layer(type(layers[-1]))
    for layer in layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.__class__ = linear_attention.with_rows(type(layer.linear_attn))


def rows_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    rows: Any = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it, by `rows`; its own without them."""
    if rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    return rows(module.layer_idx, query, key, value, module.scaling), None


def _narrow_layer(kind: Any) -> Any:
    """A class of decoder layers that give the states of the kept columns alone where `narrow` is asked for.

    A subclass and not another `forward` of the one layer: transformers and FSDP2 wrap that of the class.
    """

    def forward(layer: Any, hidden_states: torch.Tensor, *, narrow: bool = False, **options: Any) -> Any:
        return (_narrow if narrow else kind.forward)(layer, hidden_states, **options)

    return type(f"Narrow{kind.__name__}", (kind,), {"forward": forward})


def _narrow(
    layer: Any, hidden_states: torch.Tensor, *, rows: PackedAttention, **options: Any
) -> torch.Tensor:
    normed = layer.input_layernorm(hidden_states)
    if hasattr(layer, "self_attn"):
        mixed = _narrow_attention(layer.self_attn, normed, rows, options["position_embeddings"])
    else:
        mixed = layer.linear_attn(normed, rows=rows)[:, rows.kept]
    kept = hidden_states[:, rows.kept] + mixed
    states: torch.Tensor = kept + layer.mlp(layer.post_attention_layernorm(kept))
    return states


def _narrow_attention(
    attention: Any, normed: torch.Tensor, rows: PackedAttention, rotation: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    cos, sin = rotation
    projected = attention.q_proj(normed[:, rows.kept])
    gate: torch.Tensor | None = None
    if attention.q_proj.out_features == 2 * attention.o_proj.in_features:
        # Qwen3.5: each head's query, then its gate.
        by_head = projected.view(*projected.shape[:2], -1, 2 * attention.head_dim)
        projected, gate = (part.flatten(2) for part in by_head.chunk(2, dim=-1))
    query = _rotated(_heads(attention, "q", projected), cos[:, rows.kept], sin[:, rows.kept])
    key = _rotated(_heads(attention, "k", attention.k_proj(normed)), cos, sin)
    value = _heads(attention, "v", attention.v_proj(normed))
    attended = rows(attention.layer_idx, query, key, value, attention.scaling).flatten(2)
    out: torch.Tensor = attention.o_proj(attended if gate is None else attended * gate.sigmoid())
    return out


def _heads(attention: Any, name: str, projected: torch.Tensor) -> torch.Tensor:
    """Queries, keys or values [1, heads, columns, D], with the norm that some architectures have."""
    heads = projected.view(*projected.shape[:2], -1, attention.head_dim)
    norm = getattr(attention, f"{name}_norm", torch.nn.Identity())
    made: torch.Tensor = norm(heads)
    return made.transpose(1, 2)


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of [1, heads, columns, D] by cos, sin [1, columns, R]; only the first R
    numbers of a head are rotated."""
    turned, rest = states[..., : cos.shape[-1]], states[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned


def window_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    scaling: float,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention [1, columns, heads, D] within windows; queries, keys and values are [1, heads, columns, D],
    window i is the columns from `cu_seq_lens_q[i]` to `[i + 1]`."""
    by_size = _columns_by_size(cu_seq_lens_q)
    tensors = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    if len(by_size) == 1:
        return _attend_windows(tensors, next(iter(by_size)), scaling)[None], None
    out = torch.empty_like(tensors[0])
    for size, columns in by_size.items():
        out.index_copy_(0, columns, _attend_windows([each[columns] for each in tensors], size, scaling))
    return out[None], None


def _columns_by_size(bounds: torch.Tensor) -> dict[int, torch.Tensor]:
    """The columns of the windows of each size. Kept on the tensor, which all layers share: so a GPU is waited
    for once a pass."""
    known: dict[int, torch.Tensor] | None = getattr(bounds, "strive_columns", None)
    if known is None:
        starts: dict[int, list[int]] = {}
        for start, end in pairwise(bounds.tolist()):
            starts.setdefault(end - start, []).append(start)
        known = {
            size: (torch.tensor(firsts)[:, None] + torch.arange(size)).flatten().to(bounds.device)
            for size, firsts in starts.items()
        }
        bounds.strive_columns = known  # type: ignore[attr-defined]
    return known


def _attend_windows(tensors: Sequence[torch.Tensor], size: int, scaling: float) -> torch.Tensor:
    """Attention [columns, heads, D] of adjacent windows of one size."""
    query, key, value = (each.reshape(-1, size, *each.shape[1:]).transpose(1, 2) for each in tensors)
    return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2).flatten(0, 1)


def _embed_patches(patch_embed: Any, pixels: torch.Tensor) -> torch.Tensor:
    projection = patch_embed.proj
    weight = projection.weight.flatten(1)
    return linear(pixels.to(weight.dtype).view(-1, weight.shape[1]), weight, projection.bias)
