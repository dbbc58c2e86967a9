"""What a hostile stranger could write: tars, arrays, cache entries, annotations, whole builds."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from strive_data.common.files import write_json
from strive_data.engines.cache import write_entry
from strive_data.shards.format import encode_frames, sample_members
from tests.strive_data.made.builds import rewrite_run
from tests.strive_data.made.samples import a_sample, some_candidates


class Bomb:
    """Unpickled, it makes the file that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


def sample_tar(change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """The tar of a sound sample, with each (name, content) changed."""
    pairs = [change(f"1.{name}", content) for name, content in sample_members(a_sample("1"))]
    return tar_of([(tarfile.TarInfo(name), content) for name, content in pairs])


def plant(build: Path, block: bytes) -> None:
    """Put the tar bytes into the build as its only sample, every checksum right: the work of a forger."""
    (build / "shard-000000.tar").write_bytes(block)
    digest = sha256(block).hexdigest()
    row = {"sample_id": "1", "shard": "shard-000000.tar", "offset": 0, "length": len(block), "sha256": digest}
    pl.DataFrame([row]).write_parquet(build / "index.parquet")
    body = json.loads((build / "shard-000000.json").read_text())
    entry = body["samples"][0] | {"length": len(block), "sha256": digest}
    body |= {"samples": [entry], "size_bytes": len(block), "sha256": digest}
    write_json(build / "shard-000000.json", body)
    rewrite_run(build)


def object_array(trace: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def annotation_of(folder: Path, video: str) -> Path:
    path = folder / "questions.jsonl"
    row = {"id": "1", "video": video, "question": "What?", "answer": "A", "options": ["A. x", "B. y"]}
    path.write_text(json.dumps(row) + "\n")
    return path


def npy_claiming(shape: str, descr: str = "<f4", body: bytes = bytes(40)) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def forged_entry(folder: Path, *, compressed: bool = False, **arrays: bytes) -> Path:
    """A cache entry with some of its arrays replaced, under a digest that holds."""
    entry = folder / "ab" / "abc.npz"
    write_entry(entry, encode_frames(some_candidates(), 90), np.zeros((10, 2), np.float32))
    with zipfile.ZipFile(io.BytesIO(entry.read_bytes()[:-32])) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= {f"{name}.npy": content for name, content in arrays.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return signed_entry(entry, buffer.getvalue())


def signed_entry(entry: Path, payload: bytes) -> Path:
    """The entry with this zip, under a digest that holds."""
    entry.write_bytes(payload + sha256(entry.stem.encode() + payload).digest())
    return entry
