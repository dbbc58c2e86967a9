from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import DamagedError, FailureKind, SampleError
from strive_data.schema import question_hash, sample_key
from strive_data.shards.format import read_meta
from tests.strive_data.made.samples import a_question, a_sample


def test_meta_survives_json() -> None:
    meta = a_sample().meta
    assert read_meta(json.dumps(meta.to_json()).encode()) == meta


def test_discontinuities_are_written_only_where_there_are_some() -> None:
    """Shards of ordinary videos keep the bytes that they had before the member existed."""
    meta = a_sample().meta
    assert "discontinuities" not in meta.to_json()
    jumped = replace(meta, info=replace(meta.info, discontinuities=2))
    assert jumped.to_json()["discontinuities"] == 2
    assert read_meta(json.dumps(jumped.to_json()).encode()) == jumped


def test_times_of_a_folder_are_stored_and_hashed_only_where_a_row_gives_them() -> None:
    """Questions without them keep the bytes and the hash that they had before the fields existed."""
    meta = a_sample().meta
    assert not {"fps", "frame_times"} & meta.to_json().keys()
    assert question_hash(a_question()) == "24ff3bcd6337d11c"
    timed = [a_question(fps=2.0), a_question(frame_times=(0.0, 1.5)), a_question(frame_times=(0.0, 2.0))]
    assert len({question_hash(each) for each in (a_question(), *timed)}) == 4
    for question in timed:
        with_times = replace(meta, question=question)
        assert read_meta(json.dumps(with_times.to_json()).encode()) == with_times


@pytest.mark.parametrize(
    "wrong", [{"fps": "2"}, {"fps": float("nan")}, {"frame_times": 3}, {"frame_times": [None]}]
)
def test_other_times_are_damage(wrong: dict[str, object]) -> None:
    with pytest.raises(DamagedError, match=f"{next(iter(wrong))}|not JSON"):  # NaN is none
        read_meta(json.dumps(a_sample().meta.to_json() | wrong).encode())


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


def test_a_sample_error_keeps_kind_and_message_across_processes() -> None:
    error = pickle.loads(pickle.dumps(SampleError(FailureKind.NO_MOOV, "cut off")))
    assert (error.kind, error.message, str(error)) == (FailureKind.NO_MOOV, "cut off", "cut off")


def test_failure_kinds_are_those_of_the_design() -> None:
    design = (
        "missing empty not_media no_moov no_video_stream unsupported_codec zero_frames too_short "
        "partial_decode timeout oom crash score_failed encode_failed bad_row duplicate_id outside_root "
        "changed"
    )
    assert [kind.value for kind in FailureKind] == design.split()
