"""The folder that a build writes to: one writer at a time, and a full disk said in one line."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strive_data.errors import StriveError, UsageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Polars raises errors of its own, with the words of the system in them.
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


class DiskFullError(StriveError):
    """The storage of the output has no room left; nothing that was finished is lost."""


@contextmanager
def output_folder(out: Path) -> Iterator[None]:
    """Make `out` and hold it, so that no second build writes into it; made in vain, it is removed again.

    Raises UsageError where it cannot be made or written, is held by another process, or goes away while the
    block runs; DiskFullError where the block finds no room on the disk.
    """
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError as error:
        raise UsageError(f"--out {out} is not an empty folder: name a new one") from error
    except OSError as error:
        if not isinstance(error, FileExistsError) and error.errno in FULL:
            raise DiskFullError(_full(out)) from error
        what = "is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"--out {out}: {what}, not a folder that can be written; name a new one") from error
    try:
        _hold(descriptor, out)
        try:
            with _said_when_refused(out), said_when_full(out):
                yield
        finally:
            # Only by who holds it: another build may just have made it.
            if made and out.is_dir() and not any(out.iterdir()):
                out.rmdir()
    finally:
        os.close(descriptor)


@contextmanager
def said_when_full(out: Path) -> Iterator[None]:
    """Raise DiskFullError for what the block raises because there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL or any(words in str(error) for words in FULL_WORDS):
            raise DiskFullError(_full(out)) from error
        raise


@contextmanager
def _said_when_refused(out: Path) -> Iterator[None]:
    """Raise UsageError where the system refuses the block a file of `out`: read-only, or gone."""
    try:
        yield
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else None
        if where and out in (where, where.parent):
            raise UsageError(
                f"--out {out}: {error.strerror} ({where.name}); make the folder one that can be written, and "
                "start the same command again, or name a new one"
            ) from error
        raise


def _hold(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"--out {out}: another build is writing there; wait for it, or stop it") from error
    except OSError:
        # Some network file systems know no locks: then nothing guards against a second build.
        return


def _full(out: Path) -> str:
    return f"disk full: no room left to write {out}; free space and start the same command again"
