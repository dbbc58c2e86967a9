"""The packed row by hand, and its attention against a softmax under a dense mask."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from strive_rl.policy import kernels
from strive_rl.policy.packing import PackedRow

PROMPTS: list[Any] = [
    SimpleNamespace(ids=np.array([7, 8, 9]), positions=np.array([[0, 4, 5], [0, 1, 5], [0, 1, 5]])),
    SimpleNamespace(ids=np.array([5]), positions=np.array([[0], [0], [0]])),
]
CPU = torch.device("cpu")
COMPLETIONS = [[(20, 21, 22), (30,), (40, 41)], [(50, 51)]]
HEADS, KEY_HEADS, WIDTH, SCALE = 4, 2, 8, 0.3


def test_layout_by_hand() -> None:
    packed = PackedRow(PROMPTS, COMPLETIONS, CPU)
    assert packed.ids.tolist() == [7, 8, 9, 5, 20, 21, 40, 50]
    assert packed.positions[0, 0].tolist() == [0, 4, 5, 0, 6, 7, 6, 1]
    assert packed.positions[1, 0].tolist() == [0, 1, 5, 0, 6, 7, 6, 1]
    assert packed.kept.tolist() == [2, 3, 4, 5, 6, 7]
    # Of 20, 21, 22: the prompt's last token, 20, 21; of 30: the prompt's; of 40, 41 and 50, 51 likewise.
    assert packed.kept[packed.predictors].tolist() == [2, 4, 5, 2, 2, 6, 3, 7]
    assert packed.prompts == [(0, 3), (3, 4)]
    assert packed.completions == [[(4, 6), (6, 6), (6, 7)], [(7, 8)]]


def test_prompts_alone_are_a_row_of_prompts() -> None:
    packed = PackedRow(PROMPTS, (), CPU)
    assert packed.ids.tolist() == [7, 8, 9, 5]
    assert packed.kept.tolist() == [2, 3]
    assert packed.predictors.tolist() == []


def visible(completions: list[list[tuple[int, ...]]] | None) -> torch.Tensor:
    """Bool [N, N], written out pair by pair: an owner is (prompt, completion or None) of a column."""
    owners: list[tuple[int, int | None]] = [(p, None) for p, each in enumerate(PROMPTS) for _ in each.ids]
    for p, group in enumerate(completions or []):
        owners += [(p, g) for g, completion in enumerate(group) for _ in completion[:-1]]
    mask = torch.zeros(len(owners), len(owners), dtype=torch.bool)
    for q, k in product(range(len(owners)), repeat=2):
        mask[q, k] = k <= q and owners[k] in {owners[q], (owners[q][0], None)}
    return mask


def tensors(columns: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, heads, columns, WIDTH) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


def reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    k, v = (x.repeat_interleave(HEADS // KEY_HEADS, dim=1) for x in (key, value))
    scores = (query @ k.mT * SCALE).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("completions", [COMPLETIONS, None, [[(1,)], [(2,), (3,)]]])
@pytest.mark.parametrize("products", [False, True])
def test_attention_and_gradients_are_those_of_a_dense_mask(
    narrow: bool,
    completions: list[list[tuple[int, ...]]] | None,
    products: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For all queries and for those of the kept columns, with torch's kernel and with matrix products."""
    if products:
        monkeypatch.setattr("strive_rl.policy.packing.attend", kernels.products)
        monkeypatch.setattr("strive_rl.policy.packing.attend_backward", kernels.products_backward)
    rows = PackedRow(PROMPTS, completions or (), CPU)
    query, key, value = tensors(len(rows.ids))
    columns = rows.kept if narrow else torch.arange(len(rows.ids))
    given = rows(0, query[:, :, columns], key, value, SCALE)
    expected = reference(query, key, value, visible(completions))[:, columns]
    torch.testing.assert_close(given, expected, rtol=0, atol=2e-6)
    weights = torch.randn(given.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((given * weights).sum(), (query, key, value))
    theirs = torch.autograd.grad((expected * weights).sum(), (query, key, value))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


def test_a_completion_does_not_see_another_one() -> None:
    """Another key of the first completion changes its own states and no others."""
    rows = PackedRow(PROMPTS, COMPLETIONS, CPU)
    query, key, value = (each.detach() for each in tensors(len(rows.ids)))
    before = rows(0, query, key, value, SCALE)
    key[:, :, 4] += 1
    changed = (rows(0, query, key, value, SCALE) - before).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert changed.tolist() == [False] * 4 + [True, True, False, False]


@pytest.mark.parametrize("causal", [False, True])
def test_the_kernels_agree(causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query, grad = (torch.randn(3, HEADS, 7, WIDTH, generator=generator) for _ in range(2))
    key, value = (torch.randn(3, KEY_HEADS, 7, WIDTH, generator=generator) for _ in range(2))
    mask = torch.zeros(3, 1, 7, 7)
    mask[1, :, :, 5:] = -torch.inf
    options = {"scale": SCALE} | ({"causal": True} if causal else {"mask": mask})
    made, expected = (
        kernels.attend(query, key, value, **options),
        kernels.products(query, key, value, **options),
    )
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-6)
    out, lse = kernels.attend(query, key, value, scale=SCALE, causal=causal)
    parts = [
        kernel(grad, query, key, value, out, lse, scale=SCALE, causal=causal)
        for kernel in (kernels.attend_backward, kernels.products_backward)
    ]
    torch.testing.assert_close(parts[0], parts[1], rtol=0, atol=3e-6)
