"""The members of one sample, in the order of DESIGN.md section 3, and the sample of a tar's members.

Pure: no file is opened here. Arrays are plain .npy; nothing that could hold a pickle is read or written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np

from strive_data.errors import StriveError
from strive_data.schema import SCHEMA_VERSION, Sample, SampleMeta

BLOCK_BYTES = 512
ARRAYS = {
    "scores.npy": np.float32,
    "times.npy": np.float64,
    "variants.npy": np.int32,
    "uniform.npy": np.int32,
    "stored.npy": np.int32,
}
OPTIONAL_ARRAYS = {"embeds.npy": np.float16}


def decode_sample(block: bytes) -> Sample:
    """The sample of these tar bytes. Raises StriveError where a member is missing or of another schema."""
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
    present = [name for name in (*ARRAYS, *OPTIONAL_ARRAYS) if name in members]
    arrays = {name.partition(".")[0]: _read_array(members[name]) for name in present}
    jpegs = tuple(bytes(content) for name, content in members.items() if name.endswith(".jpg"))
    return Sample(meta=SampleMeta.from_json(body), jpegs=jpegs, **arrays)


def tar_members(block: bytes) -> Iterator[tuple[str, memoryview]]:
    """(name, content) of each member of a tar as `shard_writer` writes it (ustar, plain files)."""
    view, at = memoryview(block), 0
    while at + BLOCK_BYTES <= len(view) and view[at] != 0:
        name = bytes(view[at : at + 100]).rstrip(b"\0").decode("ascii")
        size = int(bytes(view[at + 124 : at + 135]), 8)
        at += BLOCK_BYTES
        yield name, view[at : at + size]
        at += -(-size // BLOCK_BYTES) * BLOCK_BYTES


def sample_members(sample: Sample) -> Iterator[tuple[str, bytes]]:
    """(name behind the key, content) of each member of a sample, in their order in the tar."""
    yield "json", json.dumps(sample.meta.to_json(), ensure_ascii=False).encode()
    for name, dtype in (ARRAYS | OPTIONAL_ARRAYS).items():
        values = getattr(sample, name.partition(".")[0])
        if values is None and name in OPTIONAL_ARRAYS:
            continue
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(values, dtype=dtype), allow_pickle=False)
        yield name, buffer.getvalue()
    for slot, jpeg in enumerate(sample.jpegs):
        yield f"f{slot:04d}.jpg", jpeg


def _read_array(content: memoryview) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
