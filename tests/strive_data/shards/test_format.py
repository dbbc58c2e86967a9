from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from strive_data.errors import DamagedError, StriveError
from strive_data.shards.format import (
    END_OF_ARCHIVE,
    decode_sample,
    encode_sample,
    read_meta,
    sample_members,
    tar_members,
)
from tests.strive_data.made.samples import a_sample

BODY = a_sample().meta.to_json()


def test_a_member_is_read_back() -> None:
    assert read_meta(json.dumps(BODY).encode()) == a_sample().meta


@pytest.mark.parametrize("name", sorted(BODY))
def test_a_missing_value_is_named(name: str) -> None:
    content = json.dumps({key: value for key, value in BODY.items() if key != name}).encode()
    with pytest.raises(DamagedError, match="schema version None" if name == "schema_version" else name):
        read_meta(content)


def test_a_sample_survives_its_tar_bytes() -> None:
    sample = a_sample()
    back = decode_sample(encode_sample(sample))
    assert back.meta == sample.meta
    assert back.jpegs == sample.jpegs
    for name in ("scores", "times", "variants", "uniform", "stored"):
        written, read = getattr(sample, name), getattr(back, name)
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)


def test_members_are_read_as_tarfile_reads_them() -> None:
    block = encode_sample(a_sample("an id with / and ."))
    with tarfile.open(fileobj=io.BytesIO(block + END_OF_ARCHIVE)) as tar:
        oracle = [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]  # type: ignore[union-attr]
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in tar.getmembers()} == {(0, 0, 0, 0o644)}
    assert [(member.name, bytes(member.content)) for member in tar_members(block)] == oracle


def test_members_stand_in_the_order_of_the_contract() -> None:
    sample = a_sample()
    arrays = ["scores.npy", "times.npy", "variants.npy", "uniform.npy", "stored.npy"]
    frames = [f"f{slot:04d}.jpg" for slot in range(len(sample.stored))]
    assert [name for name, _ in sample_members(sample)] == ["json", *arrays, *frames]


def test_embeddings_are_an_optional_member_before_the_frames() -> None:
    plain = a_sample()
    embeds = np.linspace(-1, 1, 30, dtype=np.float16).reshape(10, 3)
    names = [name for name, _ in sample_members(replace(plain, embeds=embeds))]
    assert names[5:8] == ["stored.npy", "embeds.npy", "f0000.jpg"]
    back = decode_sample(encode_sample(replace(plain, embeds=embeds)))
    assert back.embeds is not None
    assert back.embeds.dtype == np.float16
    np.testing.assert_array_equal(back.embeds, embeds)
    assert back.jpegs == plain.jpegs
    assert decode_sample(encode_sample(plain)).embeds is None


def test_a_missing_member_and_another_schema_are_named() -> None:
    block = encode_sample(a_sample())
    with pytest.raises(StriveError, match=r"1\.jsno"):
        decode_sample(block.replace(b"1.json\0", b"1.jsno\0"))
    with pytest.raises(StriveError, match="members json are missing"):
        decode_sample(block[next(m.offset for m in tar_members(block) if m.suffix == "scores.npy") :])
    version = json.dumps({"schema_version": 1})[1:-1].encode()
    with pytest.raises(StriveError, match="schema version 7"):
        decode_sample(block.replace(version, version.replace(b"1", b"7")))


def test_an_array_of_objects_is_never_read() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sample_members(a_sample()):
            content = buffer.getvalue() if name == "scores.npy" else content
            member = tarfile.TarInfo(f"1.{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(StriveError, match=r"scores\.npy: the array"):
        decode_sample(tar_bytes.getvalue())
