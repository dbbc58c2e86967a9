"""A storage that does not answer: how long a request may be silent, and how often it is made.

Both are environment variables, as are the addresses and keys that storage clients take:
STRIVE_STORAGE_TIMEOUT_SECONDS (20) and STRIVE_STORAGE_TRIES (3). By default a request ends after a minute.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

from strive_data.errors import UsageError

TIMEOUT_VARIABLE, TIMEOUT_SECONDS = "STRIVE_STORAGE_TIMEOUT_SECONDS", 20.0
TRIES_VARIABLE, TRIES = "STRIVE_STORAGE_TRIES", 3.0
# Errors that may pass: classes of client libraries by name, and numbers of the system.
PASSING_CLASSES = {
    *("ClientConnectionError", "ClientPayloadError", "HTTPClientError", "ResponseParserError"),
    "TransportError",
}
PASSING_ERRNOS = frozenset([errno.EBUSY, errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])
GIVE_UP = Event()
"""Set by a signal that ends the process: no request is made again."""

T = TypeVar("T")


class Retries:
    """Makes the requests to one storage, again where one is not answered; the first time it prints a line."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._silent = False

    def ask(self, request: Callable[[], T], errors: tuple[type[Exception], ...]) -> T:
        """The answer to the request. Raises what it raised last."""
        tries = int(_number_of(TRIES_VARIABLE, TRIES))
        for number in range(1, tries):
            try:
                answer = request()
            except errors as error:
                if not may_pass(error):
                    raise
                if not self._silent:
                    self._silent = True
                    again = f"{tries - 1} more time{'s' if tries > 2 else ''}"
                    line = f"{self._url}: no answer ({reason_of(error)}); trying {again}"
                    print(line, file=sys.stderr, flush=True)
                if GIVE_UP.wait(0.5 * 2**number):
                    raise
            else:
                self._silent = False
                return answer
        return request()


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
