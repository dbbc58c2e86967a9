"""A stream of samples and failures → one committed shard after the other.

A shard is committed the moment it is full, so where it ends depends on the samples alone and not on when the
build was interrupted.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path
from types import TracebackType

from strive_data.common.files import sync_folder, temporary_of, write_json
from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings, ShardSettings
from strive_data.schema import SCHEMA_VERSION, Failure, Question, Sample
from strive_data.shards.format import BLOCK_BYTES, sample_members
from strive_data.shards.manifest import (
    Entry,
    FailedRow,
    Manifest,
    PartFile,
    as_body,
    failed_row_of,
    manifest_name,
    question_hash,
    shard_name,
)
from strive_data.shards.tables import write_parts

# Write numbered shards; each becomes visible only when it is complete.
#
# Commit protocol (DESIGN.md section 4): temporary tar, fsync, rename the tar, then its manifest by rename.
# The manifest is the commit marker; counts, offsets and checksums come from it, never from the tar's order.
# Equal samples give equal bytes: fixed mtime, owner and mode, members in a fixed order.

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
        failures: Sequence[FailedRow] = (),
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


class ShardStream:
    """Writes shards behind those that are there. A context manager: what is not committed is given up.

    `manifests` are those of all committed shards, `trailing` the failures since the last of them,
    `written_bytes` the bytes of the samples that were written. `committed` is called behind each shard.
    """

    def __init__(
        self,
        out: Path,
        settings: BuildSettings,
        *,
        manifests: Sequence[Manifest] = (),
        attempt: int = 0,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._committed = committed
        self._out, self._settings, self._attempt = out, settings, attempt
        self._shard: OpenShard | None = None
        self._samples: list[Sample] = []
        self.manifests = list(manifests)
        self.trailing: list[FailedRow] = []
        self.written_bytes = 0

    def __enter__(self) -> ShardStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shard is not None:
            self._shard.abandon()

    def write(
        self, results: Sequence[Sample | Failure], questions: Sequence[Question], unfinished: Sequence[str]
    ) -> None:
        """Append the results of one video's questions; `unfinished` are the ids of all rows of its job."""
        for place, (result, question) in enumerate(zip(results, questions, strict=True)):
            if isinstance(result, Failure):
                self.trailing.append(failed_row_of(result, question))
            else:
                self._add(result, () if place == len(results) - 1 else unfinished)

    def finish(self) -> None:
        """Commit the last shard."""
        if self._shard is not None:
            self._commit(self._shard, ())

    def _add(self, sample: Sample, unfinished: Sequence[str]) -> None:
        if self._shard is None:
            self._shard = OpenShard(self._out, len(self.manifests), fingerprint(self._settings))
        before = self._shard.size_bytes
        self._shard.add(sample)
        self.written_bytes += self._shard.size_bytes - before
        self._samples.append(sample)
        if self._shard.is_full(self._settings.shard):
            self._commit(self._shard, unfinished)

    def _commit(self, shard: OpenShard, unfinished: Sequence[str]) -> None:
        parts = write_parts(self._out, shard.name, self._samples)
        manifest = shard.commit(
            attempt=self._attempt, failures=self.trailing, unfinished=unfinished, parts=parts
        )
        self.manifests.append(manifest)
        self._shard, self._samples, self.trailing = None, [], []
        self._committed()
