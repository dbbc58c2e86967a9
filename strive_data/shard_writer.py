"""Write numbered shards; each becomes visible only when it is complete.

Commit protocol (DESIGN.md section 4): temporary tar, fsync, rename the tar, then its manifest by rename.
The manifest is the commit marker; counts, offsets and checksums come from it, never from the tar's order.
Equal samples give equal bytes: fixed mtime, owner and mode, members in a fixed order.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path

from strive_data.atomic import sync_folder, temporary_of, write_json
from strive_data.config import ShardSettings
from strive_data.manifest import (
    Entry,
    Lost,
    Manifest,
    PartFile,
    as_body,
    manifest_name,
    question_hash,
    shard_name,
)
from strive_data.sample_tar import BLOCK_BYTES, sample_members
from strive_data.schema import SCHEMA_VERSION, Sample

END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)


class OpenShard:
    """A shard under construction: `add` samples, then `commit`."""

    def __init__(self, folder: Path, number: int, settings_fingerprint: str) -> None:
        self.name = shard_name(number)
        self._path = folder / self.name
        self._settings = settings_fingerprint
        self._temporary = temporary_of(self._path)
        self._file: BufferedWriter = self._temporary.open("wb")
        self._hash = sha256()
        self._entries: list[Entry] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: Sample) -> None:
        """Append one sample."""
        block = encode_sample(sample)
        digest = sha256(block).hexdigest()
        sample_id = sample.meta.question.sample_id
        entry = Entry(
            sample_id=sample_id,
            offset=self.size_bytes,
            length=len(block),
            sha256=digest,
            question=question_hash(sample.meta.question),
        )
        self._entries.append(entry)
        self._append(block)

    def commit(
        self,
        *,
        attempt: int = 0,
        failures: Sequence[Lost] = (),
        unfinished: Sequence[str] = (),
        parts: Mapping[str, PartFile] | None = None,
    ) -> Manifest:
        """Make the shard visible: everything on disk first, the manifest last. Arguments as in Manifest."""
        self._append(END_OF_ARCHIVE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            shard=self.name,
            settings=self._settings,
            size_bytes=self.size_bytes,
            sha256=self._hash.hexdigest(),
            attempt=attempt,
            unfinished=tuple(unfinished),
            parts=parts or {},
            failures=tuple(failures),
            samples=tuple(self._entries),
        )
        self._temporary.replace(self._path)
        # The names of tar and parts must be on the disk before a manifest vouches for them.
        sync_folder(self._path.parent)
        write_json(self._path.with_name(manifest_name(self.name)), as_body(manifest))
        sync_folder(self._path.parent)
        return manifest

    def abandon(self) -> None:
        """Give up what was not committed, and its room on the disk. Harmless behind `commit`."""
        # Closing flushes, which may fail again where the disk was full.
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _append(self, block: bytes) -> None:
        self._file.write(block)
        self._hash.update(block)
        self.size_bytes += len(block)

    def is_full(self, settings: ShardSettings) -> bool:
        """Whether the shard has reached its limit of samples or bytes."""
        return len(self) >= settings.max_samples or self.size_bytes >= settings.max_bytes


def encode_sample(sample: Sample) -> bytes:
    """Tar members of one sample, without the end-of-archive blocks; a multiple of 512 bytes."""
    # Imported here: webdataset imports torch, and decoding workers import the main module of their parent.
    import webdataset

    buffer = io.BytesIO()
    with webdataset.TarWriter(
        buffer, encoder=False, user="", group="", mode=0o644, mtime=0, compress=False
    ) as tar:
        for name, content in sample_members(sample):
            # One member a call: TarWriter sorts the members of a call by name.
            tar.write({"__key__": sample.key, name: content})
        length = tar.tarstream.offset
    return buffer.getvalue()[:length]
