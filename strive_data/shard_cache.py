"""Whole shards of a remote build kept in a local folder, each checked against its manifest once it is there.

The local copies live under the build's fingerprint, so that another build never hits; nothing is deleted.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from hashlib import sha256
from pathlib import Path, PurePosixPath
from threading import Lock, get_ident

from strive_data.errors import DamagedError, StriveError
from strive_data.storage import Folder, LocalFolder

CHUNK_BYTES = 8 << 20


class ShardCache:
    """A Folder whose shards are fetched whole, once, into `local`; every other file is read where it is.

    Threads that want the same shard wait for one download; processes may fetch it twice, and one wins.
    """

    def __init__(self, inner: Folder, local: Path) -> None:
        self.inner = inner
        self.local = LocalFolder(local)
        self._locks: dict[str, Lock] = defaultdict(Lock)

    def __str__(self) -> str:
        return str(self.inner)

    def read(self, name: str) -> bytes:
        """See Folder."""
        return self.inner.read(name)

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """See Folder; the first range of a shard fetches the shard."""
        with self._locks[name]:
            if not self.local.exists(name):
                self._fetch(name)
        return self.local.read_range(name, offset, size_bytes)

    def exists(self, name: str = "") -> bool:
        """See Folder."""
        return self.inner.exists(name)

    def size_bytes(self, name: str) -> int:
        """See Folder."""
        return self.inner.size_bytes(name)

    def names(self) -> list[str]:
        """See Folder."""
        return self.inner.names()

    def _fetch(self, name: str) -> None:
        """Download a shard under a temporary name; it takes its own when its bytes are the manifest's."""
        size_bytes, expected = self._manifest(name)
        self._make_room(name)
        target = self.local.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{get_ident()}")
        digest = sha256()
        try:
            with temporary.open("wb") as file:
                for start in range(0, size_bytes, CHUNK_BYTES):
                    chunk = self.inner.read_range(name, start, min(CHUNK_BYTES, size_bytes - start))
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != expected:
                raise DamagedError(
                    f"{self.inner}/{name} does not have its manifest's checksum: it is damaged"
                )
            temporary.replace(target)
        except OSError as error:
            raise StriveError(f"data.cache: cannot write {target}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, name: str) -> None:
        try:
            (self.local.path / name).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StriveError(f"data.cache: cannot make {self.local}: {error.strerror}") from error

    def _manifest(self, name: str) -> tuple[int, str]:
        """(size in bytes, sha256) of a shard by its manifest."""
        manifest = str(PurePosixPath(name).with_suffix(".json"))
        try:
            body = json.loads(self.inner.read(manifest))
            return int(body["size_bytes"]), str(body["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{self.inner}/{manifest} is not the manifest of a shard") from error
