"""One sample as the bytes of its tar members, and back. Pure: no file is opened here.

A shard is a concatenation of these bytes and the end-of-archive blocks, so it is a plain WebDataset tar.
Equal samples give equal bytes: fixed mtime, owner and mode, members in the order of DESIGN.md section 3.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import webdataset

from strive_data.errors import StriveError
from strive_data.schema import SCHEMA_VERSION, Sample, SampleMeta

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
ARRAYS = {
    "scores.npy": np.float32,
    "times.npy": np.float64,
    "variants.npy": np.int32,
    "uniform.npy": np.int32,
    "stored.npy": np.int32,
}


def encode_sample(sample: Sample) -> bytes:
    """Tar members of one sample, without the end-of-archive blocks; a multiple of 512 bytes."""
    buffer = io.BytesIO()
    with webdataset.TarWriter(
        buffer, encoder=False, user="", group="", mode=0o644, mtime=0, compress=False
    ) as tar:
        for name, content in _members(sample):
            # One member a call: TarWriter sorts the members of a call by name.
            tar.write({"__key__": sample.key, name: content})
        length = tar.tarstream.offset
    return buffer.getvalue()[:length]


def decode_sample(block: bytes) -> Sample:
    """Inverse of `encode_sample`. Raises StriveError where a member is missing or of another schema."""
    members = {name.partition(".")[2]: content for name, content in tar_members(block)}
    missing = [name for name in ("json", *ARRAYS) if name not in members]
    if missing:
        raise StriveError(f"not a STRIVE sample: members {', '.join(missing)} are missing")
    body = json.loads(bytes(members["json"]))
    if body["schema_version"] != SCHEMA_VERSION:
        raise StriveError(
            f"sample has schema version {body['schema_version']}, this package reads {SCHEMA_VERSION}: "
            "build the shards again, or use the version that made them"
        )
    arrays = {name.partition(".")[0]: _read_array(members[name]) for name in ARRAYS}
    jpegs = tuple(bytes(content) for name, content in members.items() if name.endswith(".jpg"))
    return Sample(meta=SampleMeta.from_json(body), jpegs=jpegs, **arrays)


def tar_members(block: bytes) -> Iterator[tuple[str, memoryview]]:
    """(name, content) of each member of a tar as `encode_sample` writes it (ustar, plain files)."""
    view, at = memoryview(block), 0
    while at + BLOCK_BYTES <= len(view) and view[at] != 0:
        name = bytes(view[at : at + 100]).rstrip(b"\0").decode("ascii")
        size = int(bytes(view[at + 124 : at + 135]), 8)
        at += BLOCK_BYTES
        yield name, view[at : at + size]
        at += -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _members(sample: Sample) -> Iterator[tuple[str, bytes]]:
    yield "json", json.dumps(sample.meta.to_json(), ensure_ascii=False).encode()
    for name, dtype in ARRAYS.items():
        buffer = io.BytesIO()
        values = np.ascontiguousarray(getattr(sample, name.partition(".")[0]), dtype=dtype)
        np.lib.format.write_array(buffer, values, allow_pickle=False)
        yield name, buffer.getvalue()
    for slot, jpeg in enumerate(sample.jpegs):
        yield f"f{slot:04d}.jpg", jpeg


def _read_array(content: memoryview) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
