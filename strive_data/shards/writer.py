"""Write a stream of samples and failures as numbered shards, each committed as soon as it is full.

Commit protocol: write a temporary tar, fsync, rename the tar, then write its manifest
by rename. The manifest is the commit marker; counts, offsets and checksums come from it. Where a shard ends
depends on the samples only, not on interruptions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path

from strive_data.common.files import sync_folder, temporary_of, write_json
from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings, ShardSettings
from strive_data.schema import SCHEMA_VERSION, FailedRow, Sample, question_hash
from strive_data.shards.format import END_OF_ARCHIVE, encode_sample
from strive_data.shards.manifest import Entry, Manifest, PartFile, as_body, manifest_name, shard_name
from strive_data.shards.tables import write_parts


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
        block, question = encode_sample(sample), sample.meta.question
        self._entries.append(
            Entry(
                sample_id=question.sample_id,
                offset=self.size_bytes,
                length=len(block),
                sha256=sha256(block).hexdigest(),
                question=question_hash(question),
            )
        )
        self._append(block)

    def commit(
        self,
        *,
        attempt: int = 0,
        failures: Sequence[FailedRow] = (),
        unfinished: Sequence[str] = (),
        parts: Mapping[str, PartFile] | None = None,
    ) -> Manifest:
        """Make the shard visible: the tar first, the manifest last. Arguments as in Manifest."""
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
        # The names of tar and parts must be on the disk before the manifest that describes them.
        sync_folder(self._path.parent)
        write_json(self._path.with_name(manifest_name(self.name)), as_body(manifest))
        sync_folder(self._path.parent)
        return manifest

    def abandon(self) -> None:
        """Remove the temporary tar, if the shard was not committed."""
        # Closing flushes, which fails again on a full disk.
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


class ShardStream:
    """Writes shards after the existing ones. A context manager: at its end an uncommitted shard is removed.

    `manifests` are those of all committed shards, `trailing` the failures since the last of them,
    `written_bytes` the bytes of the written samples. `committed` is called after each shard.
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

    def __exit__(self, *error: object) -> None:
        if self._shard is not None:
            self._shard.abandon()

    def write(self, results: Sequence[Sample | FailedRow], unfinished: Sequence[str]) -> None:
        """Append the results of one video; `unfinished` are the ids of all rows of its job."""
        for place, result in enumerate(results):
            if isinstance(result, FailedRow):
                # Row and video are those of the annotation of the day: a manifest does not store them.
                self.trailing.append(replace(result, row=-1, video="", attempt=self._attempt))
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
        self.manifests.append(
            shard.commit(attempt=self._attempt, failures=self.trailing, unfinished=unfinished, parts=parts)
        )
        self._shard, self._samples, self.trailing = None, [], []
        self._committed()
