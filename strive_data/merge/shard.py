"""One shard of a part into the joined build: linked or copied as it is, rewritten only where samples go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from strive_data.common.files import replacing, write_json
from strive_data.errors import DamagedError
from strive_data.merge.plan import Move
from strive_data.shards.checksums import file_sha256
from strive_data.shards.manifest import Entry, Manifest, PartFile, as_body, manifest_name
from strive_data.shards.tables import TABLES, part_name, write_table
from strive_data.shards.writer import END_OF_ARCHIVE

BLOCK_BYTES = 1 << 20


def move_shard(move: Move, source: Path, out: Path, *, copy: bool) -> Manifest:
    """Bring a shard, its table rows and its manifest from folder `source` to folder `out`.

    Raises DamagedError where bytes that were read are not those of the manifest, and OSError.
    """
    old, new = source / move.manifest.shard, out / move.shard
    manifest = replace(move.manifest, shard=move.shard, parts=_move_rows(move, source, out, copy=copy))
    if move.is_whole:
        _bring(old, new, move.manifest.sha256, copy=copy)
    else:
        entries, size_bytes, digest = _rewrite(old, new, move)
        manifest = replace(manifest, samples=entries, size_bytes=size_bytes, sha256=digest)
    write_json(out / manifest_name(move.shard), as_body(manifest))
    return manifest


def _move_rows(move: Move, source: Path, out: Path, *, copy: bool) -> dict[str, PartFile]:
    """The shard's rows of each table: as they are, but for the shard's name and for samples that go."""
    kept = [entry.sample_id for entry in move.kept]
    parts: dict[str, PartFile] = {}
    for table, schema in TABLES.items():
        old, new = part_name(move.manifest.shard, table), part_name(move.shard, table)
        same_name = old == new or "shard" not in schema
        if move.is_whole and same_name:
            _bring(source / old, out / new, move.manifest.parts[old].sha256, copy=copy)
            parts[new] = move.manifest.parts[old]
            continue
        rows = pl.read_parquet(source / old).filter(pl.col("sample_id").is_in(kept))
        write_table(out / new, rows if same_name else rows.with_columns(shard=pl.lit(move.shard)))
        size_bytes = (out / new).stat().st_size
        parts[new] = PartFile(size_bytes=size_bytes, sha256=file_sha256(out / new))
    return parts


def _bring(old: Path, new: Path, digest: str, *, copy: bool) -> None:
    if copy or not _link(old, new):
        _copy(old, new, digest)


def _link(old: Path, new: Path) -> bool:
    """A second name for the same bytes; False where the file systems differ or know no links."""
    try:
        os.link(old.resolve(), new)
    except OSError:
        return False
    return True


def _copy(old: Path, new: Path, digest: str) -> None:
    copied = sha256()
    with replacing(new) as temporary:
        with old.open("rb") as source, temporary.open("wb") as target:
            while block := source.read(BLOCK_BYTES):
                copied.update(block)
                target.write(block)
        if copied.hexdigest() != digest:
            raise _damaged(old)


def _rewrite(old: Path, new: Path, move: Move) -> tuple[tuple[Entry, ...], int, str]:
    """The kept samples, byte for byte, one after the other: where they lie now, size and sha256 of all."""
    digest, entries, at = sha256(), list[Entry](), 0
    with replacing(new) as temporary, temporary.open("wb") as target:
        for block, entry in _blocks(old, move):
            entries.append(replace(entry, offset=at))
            digest.update(block)
            at += target.write(block)
        digest.update(END_OF_ARCHIVE)
        at += target.write(END_OF_ARCHIVE)
    return tuple(entries), at, digest.hexdigest()


def _blocks(old: Path, move: Move) -> Iterator[tuple[bytes, Entry]]:
    with old.open("rb") as source:
        for entry in move.kept:
            source.seek(entry.offset)
            block = source.read(min(entry.length, move.manifest.size_bytes))
            if sha256(block).hexdigest() != entry.sha256:
                raise _damaged(old)
            yield block, entry


def _damaged(path: Path) -> DamagedError:
    return DamagedError(
        f"{path} is not what its manifest says: `strive-data verify {path.parent}` tells more"
    )
