"""Tensors that are sliced over processes (torch's DTensor), put together and laid out again.

A plain tensor is its own whole, so nothing here asks how many processes there are but `on_cpu`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from strive_rl import distributed

K = TypeVar("K", bound=Hashable)


def on_cpu(tensors: Mapping[K, torch.Tensor]) -> dict[K, torch.Tensor]:
    """Whole copies of these tensors on the CPU, on the first process; none on the others.

    Every process must call it with the same names in one order: the slices are put together one tensor at a
    time. A tensor that stands under several names (tied weights) is copied once.
    """
    done: dict[K, torch.Tensor] = {}
    known: dict[int, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if id(tensor) not in known:
            whole = full(tensor.detach())
            known[id(tensor)] = whole.to("cpu", copy=True) if distributed.is_first() else torch.empty(0)
        done[name] = known[id(tensor)]
    return done if distributed.is_first() else {}


def full(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor; every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor laid over devices and processes as `other` is; nothing is sent."""
    local = tensor.to(other.device)
    if not isinstance(other, DTensor):
        return local
    return distribute_tensor(local, other.device_mesh, other.placements, src_data_rank=None)
