from __future__ import annotations

import pickle

from strive_data.errors import FailureKind, SampleError


def test_a_sample_error_keeps_kind_and_message_across_processes() -> None:
    error = pickle.loads(pickle.dumps(SampleError(FailureKind.NO_MOOV, "cut off")))
    assert (error.kind, error.message, str(error)) == (FailureKind.NO_MOOV, "cut off", "cut off")


def test_failure_kinds_are_those_of_the_design() -> None:
    design = (
        "missing empty not_media no_moov no_video_stream unsupported_codec zero_frames too_short "
        "partial_decode timeout oom crash score_failed encode_failed bad_row duplicate_id outside_root"
    )
    assert [kind.value for kind in FailureKind] == design.split()
