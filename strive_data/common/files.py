"""Files that are whole or absent after any crash, and folders that one command at a time writes to."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from strive_data.common.text import nearest
from strive_data.errors import StriveError, UsageError

# A folder of pictures is a video: its frames, and what gives their times.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
# A file with such a name is an image, a sample of one still; all other files are videos.
IMAGE_SUFFIXES = PICTURE_SUFFIXES | {".webp", ".bmp"}
# Where only the name tells what may be a video: in a listing of a folder.
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)
TABLE_FORMATS = (".csv", ".parquet")
TIMES_FILE, RATE_FILE = "times.txt", "fps.txt"
_NUMBER = re.compile("([0-9]{1,18})")
BLOCK_BYTES = 1 << 20
CHECKSUM_KEY = "sha256"


def picture_order(name: str) -> tuple[list[int], str]:
    """Sorts the names of a folder's pictures by the numbers in them, then as texts."""
    return [int(digits) for digits in _NUMBER.findall(Path(name).stem)], name


def picture_places(names: Sequence[str]) -> list[int] | None:
    """The places of ordered pictures among the frames that their numbers count: 0, 1, 3 of f4, f5, f7 and of
    f40, f50, f70.

    They are 0, 1, 2 … where other things than one number differ in the names. None where the numbers have no
    common step, or where more of them are missing than there.
    """
    parts = [_NUMBER.split(Path(name).stem) for name in names]
    same = len({*map(len, parts)}) == 1
    columns = [
        [*map(int, column)] if at % 2 else column for at, column in enumerate(zip(*parts, strict=False))
    ]
    varying = [at for at, column in enumerate(columns) if len(set(column)) > 1]
    numbers = columns[varying[0]] if same and len(varying) == 1 and varying[0] % 2 else ()
    if len({*numbers}) < len(names):
        return [*range(len(names))]
    step = min(int(after) - int(before) for before, after in pairwise(numbers))
    places = [divmod(int(number) - int(numbers[0]), step) for number in numbers]
    if places[-1][0] + 1 > 2 * len(names) or any(rest for _, rest in places):
        return None
    return [place for place, _ in places]


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


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write a JSON object as `replacing` does. Raises ValueError for NaN and infinity."""
    write_bytes(path, json_bytes(body))


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """The JSON text of an object as both packages write it. Raises ValueError for NaN and infinity."""
    return (json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def add_checksum(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object with the sha256 of its JSON text in a last key."""
    plain = {name: value for name, value in body.items() if name != CHECKSUM_KEY}
    return plain | {CHECKSUM_KEY: sha256(json_bytes(plain)).hexdigest()}


def checksum_matches(content: bytes, body: Mapping[str, Any]) -> bool:
    """Whether `content`, the JSON text of `body`, is byte for byte what was written with its checksum."""
    try:
        return content == json_bytes(add_checksum(body))
    except ValueError:  # NaN or infinity, which are never written
        return False


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


MOST_NAMES = 2000
"""Files of a folder among which a name's nearest is looked for: it takes 10 ms."""


def short_names(files: Sequence[Path]) -> dict[Path, str]:
    """The name of each file, with as many folders before it as tell it from the others."""
    names = {}
    for file in dict.fromkeys(files):
        others = [f"/{other.as_posix()}" for other in files if other != file]
        tails = ("/".join(file.parts[-count:]) for count in range(1, len(file.parts) + 1))
        alone = (tail for tail in tails if not any(other.endswith(f"/{tail}") for other in others))
        names[file] = next(alone, str(file))
    return names


def near_path(path: Path, root: Path | None = None) -> str:
    """The end of a message on a path that does not exist: ", did you mean videos/a.mp4?", or "".

    The first part that is absent is replaced by the nearest name in its folder. Shown relative to `root`.
    """
    with suppress(OSError, ValueError):
        above, absent = path.parent, path
        while not above.is_dir():
            above, absent = above.parent, above
        numbers = picture_order(absent.name)[0]
        names = sorted(each.name for each in above.iterdir())
        # clip7 is another video than clip8, but may be clip07.
        names = [each for each in names if not numbers or picture_order(each)[0] in ([], numbers)]
        other_ending = [f"{absent.stem}{ending}" for ending in sorted(VIDEO_SUFFIXES)]
        same = [each for each in other_ending if each in names]
        if len(names) <= MOST_NAMES and (near := same or nearest(absent.name, names)):
            found = above / near[0] / path.relative_to(absent)
            found = found if found.exists() else above / near[0]
            return f", did you mean {found.relative_to(root) if root else found}?"
    return ""


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


# What an interrupted command has written, beside the output.
PARTIAL = ".{name}.partial"

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Polars raises errors of its own, with the words of the system in them.
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
AGAIN = "start the same command again"


class DiskFullError(StriveError):
    """The storage of the output has no room left. Finished files stay."""


def require_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Raise UsageError for a file to write whose name says no known format."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"--out {path}: expected a name that ends in {' or '.join(suffixes)}")


def require_no_file_above(place: Path) -> None:
    """Raise UsageError where nothing can be written at `place`, since a file is in its path."""
    above = next((folder for folder in place.absolute().parents if os.path.lexists(folder)), Path("/"))
    if not above.is_dir():
        raise UsageError(f"{place}: a file is in its path, {above}; name another place")


@contextmanager
def output_folder(out: Path, again: str = AGAIN) -> Iterator[None]:
    """Make `out` and lock it against a second writer. A folder made here that is empty at the end is removed.

    `again` is what messages advise once there is room, or the folder can be written.
    Raises UsageError where `out` cannot be made or written, is locked by another process, or goes away while
    the block runs; DiskFullError where the block finds no room on the disk.
    """
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError as error:
        raise UsageError(f"--out {out}: a file is in its path; name a new folder") from error
    except OSError as error:
        if not isinstance(error, FileExistsError) and error.errno in FULL:
            raise disk_full(out, again) from error
        reason = "is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(
            f"--out {out}: {reason}, expected a folder that can be written; name a new one"
        ) from error
    try:
        _lock(descriptor, out)
        try:
            with disk_full_named(out, again):
                yield
        except OSError as error:
            where = Path(error.filename) if isinstance(error.filename, str) else None
            if where is None or out not in (where, where.parent):
                raise
            wrong = (
                f"{error.strerror} ({where.name}); make the folder writable and {again}, or name a new one"
            )
            wrong = wrong if out.is_dir() else "it was removed while this command wrote to it"
            raise UsageError(f"--out {out}: {wrong}") from error
        finally:
            # Only under the lock: another process may just have made it.
            if made and out.is_dir() and not any(out.iterdir()):
                out.rmdir()
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` for the block to fill; it becomes `out` when the block ends.

    If the block fails, nothing is left. What a killed process left is removed by the next. Raises UsageError
    where `out` holds something, and as `output_folder`; StriveError where it cannot be written.
    """
    if out.name in ("", ".."):
        raise UsageError(f"--out {out}: expected the name of a new folder, such as {out / 'export'}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder: name a new folder, or remove it")
    # Imported here: the command line imports this module, and it costs a tenth of its start.
    import shutil

    hidden = out.with_name(PARTIAL.format(name=out.name))
    with output_folder(out):
        try:
            shutil.rmtree(hidden, ignore_errors=True)
            hidden.mkdir()
            yield hidden
            sync_folder(hidden)
            hidden.replace(out)
            sync_folder(out.parent)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise StriveError(f"--out {out}: cannot write: {error.strerror or error}; {AGAIN}") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def disk_full_named(out: Path, again: str = AGAIN) -> Iterator[None]:
    """Raise DiskFullError for what the block raises because there is no room."""
    try:
        yield
    except StriveError:
        raise
    except Exception as error:  # polars has errors of its own
        if getattr(error, "errno", None) in FULL or any(words in str(error) for words in FULL_WORDS):
            raise disk_full(out, again) from error
        raise


def disk_full(out: Path, again: str = AGAIN) -> DiskFullError:
    """The error for an output without room."""
    return DiskFullError(f"disk full: no room left to write {out}; free space and {again}")


def has_room(folder: Path) -> bool:
    """Whether a file of a megabyte can be written there, found by writing one: quotas count too."""
    probe = folder / f".probe-{os.getpid()}.tmp"
    try:
        with probe.open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in FULL:
            return False
        raise
    finally:
        probe.unlink(missing_ok=True)
    return True


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"--out {out}: another process is writing there; wait until it ends, or stop it"
        ) from error
    except OSError:
        # Some network file systems have no locks: nothing guards against a second writer there.
        return
