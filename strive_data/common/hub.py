"""A model hub: whether it can be reached, what its cache holds, and a client that is not asked in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from strive_data.common.console import echo
from strive_data.errors import UsageError

CONNECT_SECONDS = 5.0


def require_hub(what: str, hint: str, *, repository: str = "*", files: tuple[str, ...] = ("*",)) -> None:
    """Raise UsageError where nothing of `repository` (org/name, or a pattern) is in the hub's cache, and the
    hub is switched off or cannot be reached: its own client takes most of a minute to find out.

    `what` begins the message and `hint` ends it; `files` are patterns of files that are looked for.
    """
    from huggingface_hub import constants as hub  # Here: few commands need it.

    cache, folder = Path(hub.HF_HUB_CACHE), f"models--{repository.replace('/', '--')}"
    if any(next(cache.glob(f"{folder}/snapshots/*/{each}"), None) for each in files):
        return
    if hub.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
    elif error := unreachable(hub.ENDPOINT):
        why = f"{urlsplit(hub.ENDPOINT).hostname} cannot be reached ({error})"
    else:
        return
    raise UsageError(f"{what}, not in the cache {cache}, and {why}; {hint}")


def unreachable(url: str) -> OSError | None:
    """Why nobody listens at the host of this address; None where somebody does, or behind a proxy, where it
    cannot be known."""
    import socket  # Here: they take long to import, and few commands need them.
    from urllib.request import getproxies

    parts = urlsplit(url)
    if getproxies().keys() & {parts.scheme, "all"}:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error
    return None


@contextmanager
def from_hub(name: str) -> Iterator[None]:
    """Say on standard error what is loaded from where; a hub that does not answer is not asked again.

    One request, which waits for HF_HUB_ETAG_TIMEOUT (10 s), shows whether the hub can be reached. Its client
    would try each file of a model six times, some two minutes in all. Files of its cache are read then.
    """
    from huggingface_hub import constants as hub

    echo(f"score: loading {name} from {hub.ENDPOINT} or its cache {hub.HF_HUB_CACHE}", err=True)
    offline = hub.HF_HUB_OFFLINE
    if not offline and not _answers(hub.ENDPOINT, hub.HF_HUB_ETAG_TIMEOUT):
        echo(f"score: {hub.ENDPOINT} does not answer; only its cache is read", err=True)
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline


def _answers(url: str, seconds: float) -> bool:
    """Whether anything answers at a URL, be it with an error."""
    import ssl
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, method="HEAD"), timeout=seconds):
            return True
    except HTTPError:
        return True
    except (OSError, HTTPException) as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
