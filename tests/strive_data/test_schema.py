from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.schema import SampleMeta, sample_key
from tests.strive_data.samples import a_sample


def test_meta_survives_json() -> None:
    meta = a_sample().meta
    assert SampleMeta.from_json(json.loads(json.dumps(meta.to_json()))) == meta


def test_discontinuities_are_written_only_where_there_are_some() -> None:
    """Shards of ordinary videos keep the bytes that they had before the member existed."""
    meta = a_sample().meta
    assert "discontinuities" not in meta.to_json()
    jumped = replace(meta, info=replace(meta.info, discontinuities=2))
    assert jumped.to_json()["discontinuities"] == 2
    assert SampleMeta.from_json(jumped.to_json()) == jumped


@given(st.text(max_size=200))
def test_a_key_is_safe_in_a_tar(sample_id: str) -> None:
    key = sample_key(sample_id)
    assert len(key) <= 80
    assert key.isascii()
    assert all(c.isalnum() or c in "-_" for c in key)


def test_different_ids_that_look_alike_have_different_keys() -> None:
    keys = {sample_key(name) for name in ("a.b", "a-b", "a/b", "a b", "x" * 63, "x" * 64, "x" * 65)}
    assert len(keys) == 7
    assert sample_key("a-b") == "a-b"


def test_frames_that_are_not_stored_are_not_invented() -> None:
    sample = a_sample(count=20)
    absent = next(i for i in range(20) if i not in sample.stored)
    with pytest.raises(KeyError):
        sample.jpegs_of(sample.stored[:1] * 0 + absent)
