"""Folders of files, local or behind a URL that fsspec knows; whoever reads does not see which.

Files are flat names, or names with `/`, below the folder. A URL is taken by its scheme from a closed list of
plain storages: fsspec also knows schemes that chain, redirect, open archives or run what they point to.

A storage that does not answer is asked again. How long a request may be silent and how often it is made are
environment variables, as are the addresses and keys that storage clients take:
STRIVE_STORAGE_TIMEOUT_SECONDS (20) and STRIVE_STORAGE_TRIES (3). By default a request ends after a minute.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from strive_data.common.signals import GIVE_UP
from strive_data.errors import DamagedError, StriveError, UsageError

TIMEOUT_VARIABLE, TIMEOUT_SECONDS = "STRIVE_STORAGE_TIMEOUT_SECONDS", 20.0
TRIES_VARIABLE, TRIES = "STRIVE_STORAGE_TRIES", 3.0
# Errors that may pass: classes of client libraries by name, and numbers of the system.
PASSING_CLASSES = {
    *("ClientConnectionError", "ClientPayloadError", "HTTPClientError", "ResponseParserError"),
    "TransportError",
}
PASSING_ERRNOS = frozenset([errno.EBUSY, errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])

T = TypeVar("T")


LOCAL_SCHEMES = frozenset({"file", "local"})
REMOTE_SCHEMES = (
    "abfs abfss az gcs gs hdfs hf http https memory oci oss s3 s3a sftp smb ssh tos webdav webhdfs"
)
SCHEMES = LOCAL_SCHEMES | frozenset(REMOTE_SCHEMES.split())
URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
RUNS_COMMANDS = re.compile(r"pipe:", re.IGNORECASE)
# The package that speaks a scheme comes with an extra of this one.
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# What client libraries raise of their own beside OSError: (module, class), looked up where it is imported.
CLIENT_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("aiohttp", "ClientError"),
    ("httpx", "HTTPError"),
    ("httpx2", "HTTPError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("paramiko", "SSHException"),
)


class LocalFolder:
    """A folder of this machine. Safe to use from several threads; str() is the place as the user knows it.

    As of RemoteFolder, every method raises StriveError where the storage refuses or does not answer
    (permissions, credentials, network).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str) -> bytes:
        """A whole file. Raises DamagedError where it does not exist."""
        with _named_errors(self, name):
            return self._regular(name).read_bytes()

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Bytes [offset, offset + size_bytes). Raises DamagedError where the file lacks them."""
        with _named_errors(self, name), self._regular(name).open("rb", buffering=0) as file:
            file.seek(offset)
            block = file.read(size_bytes)
        return _whole(block, size_bytes, self, name, offset)

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file; without a name, whether the folder is there."""
        return self._file(name).is_file() if name else self.path.is_dir()

    def _file(self, name: str) -> Path:
        return self.path / _below(name)

    def _regular(self, name: str) -> Path:
        """The file, unless it is a pipe or a device: to open one may wait for ever, or never end."""
        path = self._file(name)
        if not stat.S_ISREG(path.stat().st_mode):
            raise DamagedError(f"cannot read {path}: not a regular file")
        return path


class RemoteFolder:
    """A folder behind an fsspec file system; `path` is the file system's own name of it.

    A request that gets no answer is made again, with a line on standard error at the first time.
    """

    def __init__(self, url: str, file_system: Any, path: str) -> None:
        self.url = url
        self.file_system = file_system
        self.path = path.rstrip("/")
        self._silent = False

    def __str__(self) -> str:
        return self.url

    def read(self, name: str) -> bytes:
        """See LocalFolder."""
        return bytes(self._ask(name, lambda: self.file_system.cat_file(self._file(name))))

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """See LocalFolder."""
        end = offset + size_bytes
        try:
            block = self._ask(
                name, lambda: self.file_system.cat_file(self._file(name), start=offset, end=end)
            )
        except StriveError:
            # Object stores refuse a range that begins after the end of the file; others give nothing for it.
            if offset < self.size_bytes(name):
                raise
            block = b""
        return _whole(bytes(block), size_bytes, self, name, offset)

    def exists(self, name: str = "") -> bool:
        """See LocalFolder."""
        return self._ask(name, lambda: self._is_file(name) if name else self._is_folder())

    def size_bytes(self, name: str) -> int:
        """Size of a file. Raises DamagedError where it does not exist."""
        return int(self._ask(name, lambda: self.file_system.size(self._file(name))))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file right in the folder, by name, as they are now; empty without a folder."""

        def rows() -> list[dict[str, Any]]:
            try:
                return list(self.file_system.ls(self.path, detail=True))
            except FileNotFoundError:
                return []

        self.file_system.invalidate_cache()
        found = self._ask("", rows)
        return {PurePosixPath(row["name"]).name: int(row["size"]) for row in found if row["type"] == "file"}

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to this machine. Raises DamagedError where it does not exist."""
        self._ask(name, lambda: self.file_system.get_file(self._file(name), str(to)))

    def put(self, name: str, source: Path) -> None:
        """Write a file from this machine; an object store shows it whole or not at all.

        Raises UsageError where the storage finds no place for it: the bucket is missing.
        """

        def write() -> None:
            try:
                self.file_system.put_file(str(source), self._file(name))
            except FileNotFoundError as error:
                parts = urlsplit(self.url)
                place = "repository" if parts.scheme == "hf" else f"bucket or container {parts.netloc!r}"
                likely = f"its {place} may be missing; make it, or name another"
                raise UsageError(f"cannot write {self}/{name}: {likely}") from error

        self._ask(name, write, "write")

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self.file_system.rm_file(self._file(name))

        self._ask(name, remove, "remove")

    def _ask(self, name: str, request: Callable[[], T], what: str = "read") -> T:
        """The answer to a request, made again if need be; errors in one line with the file's name."""
        tries = int(_number_of(TRIES_VARIABLE, TRIES))
        with _named_errors(self, name, what):
            for number in range(1, tries):
                try:
                    answer = request()
                except _errors() as error:
                    if not may_pass(error):
                        raise
                    if not self._silent:  # said once
                        self._silent, more = True, f"{tries - 1} more time{'s' if tries > 2 else ''}"
                        said = f"{self}: no answer ({reason_of(error)}); trying {more}"
                        print(said, file=sys.stderr, flush=True)
                    if GIVE_UP.wait(0.5 * 2**number):
                        raise
                else:
                    self._silent = False
                    return answer
            return request()

    def _file(self, name: str) -> str:
        return f"{self.path}/{_below(name)}"

    def _is_file(self, name: str) -> bool:
        # `isfile` of fsspec takes a storage that cannot be asked for one that has no such file.
        try:
            return bool(self.file_system.info(self._file(name))["type"] == "file")
        except FileNotFoundError as error:
            # What fsspec makes of a web server that answers nothing.
            if isinstance(error.__cause__, Exception) and may_pass(error.__cause__):
                raise error.__cause__ from error
            return False

    def _is_folder(self) -> bool:
        if self.url.lower().startswith("http"):
            return bool(self.file_system.isdir(self.path))  # A web server has no type of a folder.
        try:
            return bool(self.file_system.info(self.path)["type"] == "directory")
        except FileNotFoundError:
            return False


Folder = LocalFolder | RemoteFolder


def open_folder(where: str | Path | Folder) -> Folder:
    """The folder at a local path or URL; one that is open already is given back.

    Sends no request yet. Raises UsageError for a scheme that is no plain storage, for secrets
    in the URL, and where the package that speaks the scheme is not installed, or cannot read the URL.
    """
    if not isinstance(where, str | Path):
        return where
    place = place_of(where)
    return open_remote(place) if isinstance(place, str) else LocalFolder(place)


def place_of(where: str | Path) -> Path | str:
    """The path of a folder or file of this machine (`file://` too), or the URL of another storage.

    Raises UsageError for what is no plain storage, and for secrets in the URL.
    """
    if isinstance(where, Path):
        return where
    match = URL.match(where)
    if RUNS_COMMANDS.match(where):
        raise UsageError(f"{where}: pipe: runs a command, and is never followed; give a folder or a URL")
    if "://" in where and "::" in where:
        raise UsageError(f"{where}: chained URLs (::) are not followed; give the URL of the storage itself")
    if not match:
        return Path(where)
    scheme = match["scheme"].lower()
    if urlsplit(where).password is not None:
        raise UsageError(
            f"{scheme}://…: the URL holds a password, which would end in records and messages; give it to "
            "the storage's client by its environment variables or configuration file"
        )
    if scheme not in SCHEMES:
        raise UsageError(
            f"{where}: scheme {scheme!r} is not among the storages read here: {', '.join(sorted(SCHEMES))}"
        )
    return Path(unquote(where[match.end() :])) if scheme in LOCAL_SCHEMES else where


def open_remote(url: str) -> RemoteFolder:
    """The folder at a URL that `place_of` has passed. Raises UsageError as `open_folder`."""
    # Imported here: local builds need no client, and it takes a tenth of a second.
    import fsspec

    try:
        with _named_errors(url):
            file_system, path = fsspec.core.url_to_fs(url, **client_options(url))
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(url.split(":")[0].lower()) if isinstance(error, ImportError) else None
        hint = f"; it comes with the extra of this package, [{extra}]" if extra else ""
        raise UsageError(f"{url}: {error}{hint}") from error
    if url.lower().startswith("s3"):
        file_system.retries = 1  # `RemoteFolder` makes a request again, and says so.
    return RemoteFolder(url, file_system, path)


def require_room(what: str, size_bytes: int, folder: Path) -> None:
    """Raise StriveError where the disk of a temporary folder has no room for `what`."""
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > free_bytes:
        raise StriveError(
            f"{what} has {size_bytes} bytes, and {folder} has {free_bytes} bytes free: free space, or set "
            "TMPDIR to a larger disk"
        )


def client_options(url: str) -> dict[str, Any]:
    """Options of fsspec that end a silent request, for the clients that have no such limit or a long one."""
    seconds = _number_of(TIMEOUT_VARIABLE, TIMEOUT_SECONDS)
    if url.lower().startswith("s3"):
        import fsspec

        given = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        limits = {"connect_timeout": seconds, "read_timeout": seconds, "retries": {"total_max_attempts": 1}}
        return {"config_kwargs": limits | given}
    if url.lower().startswith("http"):
        import aiohttp

        limit = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        return {"client_kwargs": {"timeout": limit}}
    return {}


def may_pass(error: BaseException) -> bool:
    """Whether the same request may be answered a little later."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & PASSING_CLASSES) or (isinstance(error, OSError) and error.errno in PASSING_ERRNOS)


def reason_of(error: Exception) -> str:
    """What an error says, on one line."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(reason.split())


def _number_of(variable: str, default: float) -> float:
    raw = os.environ.get(variable)
    try:
        value = default if raw is None else float(raw)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise UsageError(f"{variable}: got {raw!r}, expected a number from 1 up")
    return value


@contextmanager
def _named_errors(folder: Folder | str, name: str = "", what: str = "read") -> Iterator[None]:
    """Turn what storages raise into one line with the file's name."""
    where = f"{folder}/{name}".rstrip("/")
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedError(f"cannot {what} {where}: no such file") from error
    except _errors() as error:
        raise StriveError(f"cannot {what} {where}: {reason_of(error)}") from error


def _errors() -> tuple[type[Exception], ...]:
    """OSError, and the errors of those clients that are imported: none else can be on its way."""
    imported = [(sys.modules[module], name) for module, name in CLIENT_ERRORS if module in sys.modules]
    return (OSError, *(getattr(module, name) for module, name in imported))


def _below(name: str) -> str:
    """`name`, if it leads to a file below the folder: names come from files that others may have written."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or {"\\", "\0"} & set(name) or URL.match(name):
        raise DamagedError(f"{name!r} is not the name of a file below its folder")
    return name


def _whole(block: bytes, size_bytes: int, folder: Folder, name: str, offset: int) -> bytes:
    if len(block) > size_bytes:
        raise StriveError(
            f"cannot read {folder}/{name}: the storage gave {len(block)} bytes for a range of {size_bytes}: "
            "it does not serve ranges; copy the folder and read the copy"
        )
    if len(block) < size_bytes:
        raise DamagedError(
            f"cannot read {folder}/{name}: bytes {offset} to {offset + size_bytes} are not all there "
            f"(got {len(block)}): the file is cut short"
        )
    return block
