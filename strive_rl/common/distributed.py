"""One process of several, as torchrun starts them: its rank, exchanges with the others, tensors of them all.

Without torchrun there is one process and nothing is sent. What passes between processes goes over the CPU
(gloo) and is either a value or the error of the process that has none, so a process that fails ends all
others at their next exchange. A tensor that is not sharded is its own whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from strive_data.errors import StriveError

T = TypeVar("T")
# The exit code, as of any error; and how long a process that is done waits for the shares of all others.
FAILED = 2
# What ends before the processes of a good run part, as a library that shares their group.
AT_END: list[Callable[[], None]] = []
PATIENCE_MINUTES = 7 * 24 * 60.0


class SharedError(StriveError):
    """Every process ends with this; the first one prints the reason."""


class PeerFailedError(SharedError):
    """The same on the other processes, which print nothing."""


@dataclass(frozen=True, kw_only=True)
class _Failure:
    rank: int
    message: str


@contextmanager
def processes(timeout_minutes: float = 30) -> Iterator[None]:
    """Join the other processes of this run inside of this context, where torchrun started several.

    A process that waits for another one longer than the time-out ends with an error. Each takes the CUDA
    device of its number on its machine, where there is one. Where another process has failed, this one ends
    without a word: the first one prints the reason.
    """
    try:
        with _joined(timeout_minutes):
            yield
    except PeerFailedError as error:
        raise SystemExit(FAILED) from error


@contextmanager
def _joined(timeout_minutes: float) -> Iterator[None]:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    device = None
    if local_rank() < torch.cuda.device_count():
        device = torch.device("cuda", local_rank())
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device else "gloo",
        timeout=timedelta(minutes=timeout_minutes),
        device_id=device,
    )
    yield
    # Only after a good end: a process that failed must not wait for the others to agree to part.
    barrier()
    for end in AT_END:
        end()
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine, and of the device that it takes there."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return rank() == 0


def all_gather(mine: T) -> list[T]:
    """The values of all processes in the order of their ranks, the same list in each; all must call it.

    Raises StriveError with the reason where a process failed instead (`propagate_errors`).
    """
    if world_size() == 1:
        return [mine]
    sent: list[T | _Failure] = [mine] * world_size()
    dist.all_gather_object(sent, mine)
    failures = [each for each in sent if isinstance(each, _Failure)]
    if failures:
        first = failures[0]
        stop(first.message if first.rank == 0 else f"process {first.rank}: {first.message}")
    return [each for each in sent if not isinstance(each, _Failure)]


def all_gather_list(mine: list[T]) -> list[T]:
    """The joined lists of all processes, in the order of their ranks; all must call it."""
    return [each for part in all_gather(mine) for each in part]


@contextmanager
def propagate_errors() -> Iterator[None]:
    """End the other processes at their next exchange where a StriveError ends this block.

    For work that this process does by itself, between two exchanges.
    """
    try:
        yield
    except SharedError:
        raise
    except StriveError as error:
        if world_size() > 1:
            all_gather(_Failure(rank=rank(), message=str(error)))
        raise


def barrier() -> None:
    """Wait until all processes are here."""
    all_gather(None)


def stop(message: str) -> NoReturn:
    """End all processes with one message, which the first one prints; all must call it."""
    kind = SharedError if is_first() else PeerFailedError
    raise kind(message)


K = TypeVar("K", bound=Hashable)


def on_cpu(tensors: Mapping[K, torch.Tensor]) -> dict[K, torch.Tensor]:
    """Whole copies of these tensors on the CPU, on the first process; none on the others.

    Every process must call it with the same names in one order: the slices are put together one tensor at a
    time. A tensor with several names (tied weights) is copied once.
    """
    done: dict[K, torch.Tensor] = {}
    known: dict[int, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if id(tensor) not in known:
            whole = full(tensor.detach())
            known[id(tensor)] = whole.to("cpu", copy=True) if is_first() else torch.empty(0)
        done[name] = known[id(tensor)]
    return done if is_first() else {}


def full(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor; every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor laid over devices and processes as `other` is; nothing is sent."""
    local = tensor.to(other.device)
    if not isinstance(other, DTensor):
        return local
    return distribute_tensor(local, other.device_mesh, other.placements, src_data_rank=None)
