from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import pytest

from strive_data.config import DecodeSettings
from strive_data.engines.second_try import both_failed, first_reader, other_reader
from strive_data.errors import FailureKind, SampleError

Reader = Literal["auto", "pyav", "decord"]


def test_only_a_free_choice_of_reader_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    auto = DecodeSettings(candidates=7)
    assert other_reader(auto) == DecodeSettings(candidates=7, reader="decord")
    assert other_reader(DecodeSettings(reader="pyav")) is None
    assert other_reader(DecodeSettings(reader="decord")) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert other_reader(auto) is None


@pytest.mark.parametrize(("named", "first"), [("auto", "pyav"), ("pyav", "pyav"), ("decord", "decord")])
def test_the_first_try_is_told_by_the_reader_that_made_it(named: Reader, first: str) -> None:
    assert first_reader(DecodeSettings(reader=named)) == first


def test_the_error_of_two_tries_has_the_first_kind_and_the_words_of_both() -> None:
    first = SampleError(FailureKind.TIMEOUT, "v: not decoded within 1 s")
    second = SampleError(FailureKind.CRASH, "v: died with exit code -11")
    error = both_failed(Path("v"), ("pyav", first), ("decord", second))
    assert error.kind is FailureKind.TIMEOUT
    said = "v: pyav: timeout: not decoded within 1 s; decord: crash: died with exit code -11"
    assert error.message == said
