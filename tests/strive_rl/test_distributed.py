"""One process of one: nothing is sent. Two are in test_two_processes."""

from __future__ import annotations

import pytest

from strive_data.errors import StriveError, UsageError
from strive_rl import distributed


def test_without_torchrun_there_is_one_process() -> None:
    with distributed.processes():
        assert (distributed.rank(), distributed.world_size(), distributed.is_first()) == (0, 1, True)
        assert distributed.gathered({"a": 1}) == [{"a": 1}]
        assert distributed.everyone([1, 2]) == [1, 2]
        distributed.barrier()


def test_an_error_of_the_only_process_stays_what_it_is() -> None:
    with pytest.raises(UsageError, match="here"), distributed.telling():
        raise UsageError("here")
    with pytest.raises(distributed.SharedError, match="all"):
        distributed.stop("all")
    assert issubclass(distributed.ToldElsewhereError, StriveError)
