"""Parts of transformers' models that are replaced, in place, by equal ones that compute less.

language model      attention by the `rows` of a pass (a `packing.PackedRow` or a `generate.Decoding`)
last decoder layer  the kept columns of a packed row alone
norms, gates        what they make is not kept for the backward pass, but made again from their inputs; a norm
                    is one kernel
linear attention    by the `rows` of a pass too (`architectures.linear_attention`)
vision attention    all windows of one size in one call, not one by one
patch embedding     a matrix product, not a convolution whose stride is its kernel
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from strive_rl.policy.architectures import linear_attention
from strive_rl.policy.packing import PackedRow

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
    for module in list(model.model.modules()):
        if type(module).__name__.endswith("RMSNorm"):
            _replace_forward(module, _norm)
        elif hasattr(module, "gate_proj") and hasattr(module, "act_fn"):
            _replace_forward(module, lambda kind: _gated_mlp)
    layers = model.model.language_model.layers
    _replace_forward(layers[-1], _narrow_layer)
    for layer in layers:
        if hasattr(layer, "linear_attn"):
            _replace_forward(layer.linear_attn, linear_attention.with_rows)


def _replace_forward(module: Any, made_of: Callable[[Any], Callable[..., Any]]) -> None:
    """Give a module the forward that `made_of` makes of its class. In a subclass and not in the one object:
    transformers and FSDP2 wrap the forward of the class."""
    kind = type(module)
    module.__class__ = type(f"Strive{kind.__name__}", (kind,), {"forward": made_of(kind)})


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


class _Recipe:
    """Work that is done again in the backward pass, once; `inputs` are kept for it, not what it makes."""

    def __init__(self, work: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> None:
        self.work = work
        self.inputs = [each.detach().requires_grad_(each.requires_grad) for each in inputs]
        self.made: torch.Tensor | None = None

    def again(self) -> torch.Tensor:
        if self.made is None:
            with torch.enable_grad():
                self.made = self.work(*self.inputs)
        return self.made


class _RecipeFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        ctx.recipe = recipe = inputs[0]
        ctx.weights = inputs[1 + len(recipe.inputs) :]
        made: torch.Tensor = recipe.work(*recipe.inputs)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        recipe, wanted = ctx.recipe, ctx.needs_input_grad[1:]
        sources = [each for each, want in zip((*recipe.inputs, *ctx.weights), wanted, strict=True) if want]
        made = iter(torch.autograd.grad(recipe.again(), sources, gradients))
        # The graph, and with it the recipe, lives on until the end of the backward pass.
        recipe.inputs, recipe.made = [], None
        return None, *(next(made) if want else None for want in wanted)


def _made(
    work: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor] = ()
) -> torch.Tensor:
    """`work(*inputs)`, cheap work that uses these weights; within `keeping_less` it is not kept."""
    recipe = _Recipe(work, inputs)
    made: torch.Tensor = _RecipeFunction.apply(recipe, *inputs, *weights)
    made.strive_recipe = recipe  # type: ignore[attr-defined]
    return made


def keeping_less() -> saved_tensors_hooks:
    """A context in which what norms and gates make is not kept for the backward pass by what reads it."""

    def pack(tensor: torch.Tensor) -> Any:
        whole = tensor if tensor._base is None else tensor._base
        recipe = getattr(whole, "strive_recipe", None)
        if recipe is not None and tensor.numel() == whole.numel():
            return recipe, tensor.shape
        # A result keeps its own graph alive if it is not detached.
        return tensor if tensor.is_leaf else tensor.detach()

    def unpack(kept: Any) -> torch.Tensor:
        made: torch.Tensor = kept[0].again().detach().view(kept[1]) if isinstance(kept, tuple) else kept
        return made

    return saved_tensors_hooks(pack, unpack)


def _norm(kind: Any) -> Callable[..., torch.Tensor]:
    def work(norm: Any, states: torch.Tensor, *gate: torch.Tensor) -> torch.Tensor:
        # One kernel, which rounds once; the backward pass has one on a GPU alone.
        if hasattr(norm, "variance_epsilon") and not gate and (states.is_cuda or not torch.is_grad_enabled()):
            return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)
        return kind.forward(norm, states, *gate)  # type: ignore[no-any-return]

    def forward(norm: Any, *inputs: torch.Tensor) -> torch.Tensor:
        if _keeps(norm):
            return _made(partial(work, norm), inputs, list(norm.parameters()))
        return work(norm, *inputs)

    return forward


def _gated_mlp(mlp: Any, states: torch.Tensor) -> torch.Tensor:
    def work(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = mlp.act_fn(gate) * up
        return made

    inputs = mlp.gate_proj(states), mlp.up_proj(states)
    out: torch.Tensor = mlp.down_proj(_made(work, inputs) if _keeps(mlp) else work(*inputs))
    return out


def _keeps(module: Any) -> bool:
    """Whether what it makes would be kept for a backward pass; in training mode it is not (`load.freeze`)."""
    return torch.is_grad_enabled() and not module.training


def _narrow_layer(kind: Any) -> Callable[..., Any]:
    """The forward of a decoder layer that gives the states of the kept columns alone where `narrow` is asked
    for."""

    def forward(layer: Any, hidden_states: torch.Tensor, *, narrow: bool = False, **options: Any) -> Any:
        return (_narrow if narrow else kind.forward)(layer, hidden_states, **options)

    return forward


def _narrow(layer: Any, hidden_states: torch.Tensor, *, rows: PackedRow, **options: Any) -> torch.Tensor:
    normed = layer.input_layernorm(hidden_states)
    if hasattr(layer, "self_attn"):
        mixed = _narrow_attention(layer.self_attn, normed, rows, options["position_embeddings"])
    else:
        mixed = layer.linear_attn(normed, rows=rows)[:, rows.kept]
    kept = hidden_states[:, rows.kept] + mixed
    states: torch.Tensor = kept + layer.mlp(layer.post_attention_layernorm(kept))
    return states


def _narrow_attention(
    attention: Any, normed: torch.Tensor, rows: PackedRow, rotation: tuple[torch.Tensor, torch.Tensor]
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
