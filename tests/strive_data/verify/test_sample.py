from __future__ import annotations

from collections.abc import Callable

import pytest

from strive_data.sample_tar import tar_members
from strive_data.shard_writer import encode_sample
from strive_data.verify.sample import check_sample, tar_header
from tests.strive_data.samples import a_sample, build_settings

SETTINGS = build_settings()


def test_the_header_is_the_one_that_the_writer_writes() -> None:
    block = encode_sample(a_sample("an id with / and ."))
    for member in tar_members(block):
        assert block[member.offset :][:512] == tar_header(member.name, len(member.content))


def test_a_sound_sample_is_given_back() -> None:
    sample, found = check_sample(encode_sample(a_sample("7")), "7", SETTINGS)
    assert found == []
    assert sample is not None
    assert sample.meta == a_sample("7").meta


def swapped(block: bytes) -> bytes:
    """Times before scores."""
    first, second, third = [m.offset for m in tar_members(block)][1:4]
    return block[:first] + block[second:third] + block[first:second] + block[third:]


@pytest.mark.parametrize(
    ("edit", "offset", "what"),
    [
        (lambda b: b[:147] + b"1" + b[148:], 0, "json: its header differs in time, owner, mode or checksum"),
        (lambda b: b + bytes(512), None, "512 bytes behind the last member"),
        (lambda b: b[:-1] + b"x", None, "the padding behind it is not zero"),
        (swapped, None, "members are not in the order json, scores.npy, times.npy"),
        (lambda b: b.replace(b'"options": ', b'"options":  ').replace(b'"answer": ', b'"answer":'), 0,
         "json: not in the form that the package writes"),
        (lambda b: b"8" + b[1:], None, "is a member of another sample"),
    ],
)  # fmt: skip
def test_bytes_of_another_form_are_named(
    edit: Callable[[bytes], bytes], offset: int | None, what: str
) -> None:
    _, found = check_sample(edit(encode_sample(a_sample("7"))), "7", SETTINGS)
    assert any(what in said and offset in (None, at) for at, said in found), found


def test_a_sample_under_another_id_is_named() -> None:
    _, found = check_sample(encode_sample(a_sample("7")), "8", SETTINGS)
    assert [said for _, said in found] == ["json: the sample calls itself '7'"]
