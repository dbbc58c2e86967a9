"""A stream of samples and failures → one committed shard after the other.

A shard is committed the moment it is full, so where it ends depends on the samples alone and not on when the
build was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from strive_data.config import BuildSettings
from strive_data.manifest import Lost, Manifest, lost_of
from strive_data.schema import Failure, Question, Sample
from strive_data.settings import fingerprint
from strive_data.shard_writer import OpenShard
from strive_data.tables import write_parts


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
        self.trailing: list[Lost] = []
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
                self.trailing.append(lost_of(result, question))
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
