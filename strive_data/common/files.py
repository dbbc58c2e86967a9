"""Write files that are whole or absent after any crash; read only regular files; hash files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

# A folder of pictures is a video: its frames, and what gives their times.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
# A file with such a name is an image, a sample of one still; all other files are videos.
IMAGE_SUFFIXES = PICTURE_SUFFIXES | {".webp", ".bmp"}
TIMES_FILE, RATE_FILE = "times.txt", "fps.txt"
BLOCK_BYTES = 1 << 20


def temporary_of(path: Path) -> Path:
    """The path under which a file is written before it is renamed to `path`."""
    return path.with_name(f".{path.name}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether an interrupted process left this file while writing."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file as `replacing` does."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, body: Mapping[str, Any], *, indent: int = 1, durable: bool = True) -> None:
    """Write a JSON object as `replacing` does. Raises ValueError for NaN and infinity."""
    write_bytes(path, json_bytes(body, indent=indent), durable=durable)


def json_bytes(body: Mapping[str, Any], *, indent: int = 1) -> bytes:
    """The JSON text of an object as both packages write it. Raises ValueError for NaN and infinity."""
    return (json.dumps(body, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path for the block to write; renamed to `path` when the block ends.

    `durable`: the content reaches the disk before the rename, so that it also survives a loss of power. If
    the block fails, the temporary file is removed, which frees its space on a full disk.
    """
    temporary = temporary_of(path)
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder, renamed files included, survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in blocks. Raises OSError."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_regular_file(path: Path, *, max_bytes: int) -> bytes:
    """Content of a regular file of at most `max_bytes`.

    Never waits: a pipe or device is refused unread. Raises OSError, ValueError for another kind of file and
    for a larger one.
    """
    # A pipe would block a plain open until something is written to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        if status.st_size > max_bytes:
            raise ValueError(f"{path.name} has {status.st_size} bytes, more than {max_bytes}")
        return file.read(max_bytes)
