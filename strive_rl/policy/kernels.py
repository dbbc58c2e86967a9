"""Attention kernels that also return the log-sum-exp of the scores, and take it back for the backward pass.

On the CPU torch's flash kernel, on a GPU its flash kernel for half precision without a mask; elsewhere, and
for a GPU's masks, matrix products with scores in float32.

Shape letters: B batch, H query heads, A key heads (H is a multiple of A), T queries, S keys, D width.
"""

from __future__ import annotations

import torch

_aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)


def fold(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, H, T, …] → [B, heads, H/heads·T, …]: the heads that share a key head become further queries."""
    return tensor.reshape(len(tensor), heads, -1, *tensor.shape[3:])


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type of scores: float32, or float64 for a float64 model."""
    return torch.promote_types(dtype, torch.float32)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float,
    causal: bool = False,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention [B, H, T, D] and the log-sum-exp of its scores float32 [B, H, T].

    `causal` needs T = S. `mask` [B, 1, T, S] is added to the scores.
    """
    if query.device.type == "cpu":
        out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=mask, scale=scale
        )
        return out, lse
    if _has_flash(query) and mask is None:
        made = _aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, False, scale=scale)
        return made[0], made[1]
    return products(query, key, value, scale=scale, causal=causal, mask=mask)


def attend_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    *,
    scale: float,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of queries, keys and values. `out` and `lse` may be those of attention over more keys: then
    these are the parts of the gradients that these keys have in it."""
    if query.device.type == "cpu":
        made = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, query, key, value, out, lse, 0.0, causal, scale=scale
        )
        return made[0], made[1], made[2]
    if _has_flash(query):
        nothing = torch.zeros(2, dtype=torch.uint64, device=query.device)
        made = _aten._scaled_dot_product_flash_attention_backward(
            grad, query, key, value, out, lse.contiguous(), None, None, query.shape[2], key.shape[2],
            0.0, causal, nothing, nothing[:1], scale=scale,
        )  # fmt: skip
        return made[0], made[1], made[2]
    return products_backward(grad, query, key, value, out, lse, scale=scale, causal=causal)


def join(
    out: torch.Tensor, lse: torch.Tensor, other: torch.Tensor, other_lse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention over two sets of keys from that over each: outputs [..., D], log-sum-exps [...]."""
    joint = torch.logaddexp(lse, other_lse)
    first, second = (lse - joint).exp()[..., None], (other_lse - joint).exp()[..., None]
    return out * first + other * second, joint


def products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float,
    causal: bool = False,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`attend` by matrix products, on any device."""
    scores = _scores(query, key, scale, causal, mask)
    lse = scores.logsumexp(dim=-1)
    probabilities = (scores - lse[..., None]).exp_().to(value.dtype)
    return (probabilities @ value).reshape(query.shape), lse.reshape(query.shape[:3])


def products_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    *,
    scale: float,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`attend_backward` by matrix products, on any device."""
    heads = key.shape[1]
    probabilities = (_scores(query, key, scale, causal, None) - fold(lse, heads)[..., None]).exp_()
    g, q, delta = fold(grad, heads), fold(query, heads), fold((grad * out).to(lse.dtype).sum(-1), heads)
    grad_value = probabilities.to(g.dtype).mT @ g
    grad_scores = (probabilities * ((g @ value.mT).to(lse.dtype) - delta[..., None]) * scale).to(q.dtype)
    return (grad_scores @ key).reshape(query.shape), grad_scores.mT @ q, grad_value


def _scores(
    query: torch.Tensor, key: torch.Tensor, scale: float, causal: bool, mask: torch.Tensor | None
) -> torch.Tensor:
    """Scores float32 [B, A, H/A·T, S] under the mask."""
    heads, length = key.shape[1], query.shape[2]
    folded = fold(query, heads)
    if query.is_cuda and query.dtype in HALF:
        flat = torch.bmm(folded.flatten(0, 1), key.flatten(0, 1).mT, out_dtype=torch.float32)
        scores: torch.Tensor = flat.view(*folded.shape[:3], -1) * scale
    else:
        scores = (folded @ key.mT).to(wide(query.dtype)) * scale
    by_head = scores.view(*scores.shape[:2], -1, length, scores.shape[-1])
    if causal:
        hidden = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        by_head = by_head.masked_fill(hidden, -torch.inf)
    if mask is not None:
        by_head = by_head + mask[:, :, None]
    return by_head.flatten(2, 3)


def _has_flash(query: torch.Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in HALF
        and query.shape[-1] % 8 == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )
