"""Plain tensors are their own whole; sliced ones are in test_two_processes."""

from __future__ import annotations

import pytest
import torch

from strive_data.errors import StriveError, UsageError
from strive_rl.common import distributed
from strive_rl.common.distributed import full, like, on_cpu


def test_without_torchrun_there_is_one_process() -> None:
    with distributed.processes():
        assert (distributed.rank(), distributed.world_size(), distributed.is_first()) == (0, 1, True)
        assert distributed.all_gather({"a": 1}) == [{"a": 1}]
        assert distributed.all_gather_list([1, 2]) == [1, 2]
        distributed.barrier()


def test_an_error_of_the_only_process_stays_what_it_is() -> None:
    with pytest.raises(UsageError, match="here"), distributed.propagate_errors():
        raise UsageError("here")
    with pytest.raises(distributed.SharedError, match="all"):
        distributed.stop("all")
    assert issubclass(distributed.PeerFailedError, StriveError)


def test_copies_are_whole_and_tied_tensors_are_copied_once() -> None:
    weight = torch.nn.Parameter(torch.arange(3.0))
    copies = on_cpu({"a": weight, "tied": weight, "b": torch.zeros(2)})
    assert list(copies) == ["a", "tied", "b"]
    assert copies["a"] is copies["tied"]
    with torch.no_grad():
        weight.add_(1)
    assert copies["a"].tolist() == [0, 1, 2]
    assert not copies["a"].requires_grad


def test_a_plain_tensor_is_its_own_whole() -> None:
    tensor = torch.ones(2)
    assert full(tensor) is tensor
    assert like(tensor, torch.zeros(2)) is tensor
