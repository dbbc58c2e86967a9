"""What is known of a model hub without its client: whether it can be reached, and what its cache holds."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

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
    from urllib.request import getproxies  # Here: it takes long to import, and few commands need it.

    parts = urlsplit(url)
    if getproxies().get(parts.scheme):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error
    return None
