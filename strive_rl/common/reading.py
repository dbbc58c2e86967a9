"""One line for whatever a library raises while it reads a file: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strive_data.errors import StriveError, UsageError

MOST_CHARACTERS = 300


@contextmanager
def reading(what: str | Path, hint: str = "") -> Iterator[None]:
    """Raise UsageError "`what` cannot be read: reason" for what the block raises; `hint` says what to do.

    Only for blocks that read files of others: safetensors, tokenizers and jinja raise bare Exceptions,
    torch RuntimeErrors, damaged JSON gives KeyErrors and TypeErrors. Our own errors pass, and so does running
    out of memory on a device, which is not the file's fault.
    """
    try:
        yield
    except StriveError:
        raise
    except Exception as error:  # Any: the libraries promise nothing about what a damaged file raises.
        if type(error).__name__ == "OutOfMemoryError":
            raise
        tail = f"; {hint}" if hint else ""
        raise UsageError(f"{what} cannot be read: {one_line(error)}{tail}") from error


def one_line(error: BaseException) -> str:
    """Kind and first line of an error: libraries put paragraphs into theirs."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror} ({error.filename})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2]) if lines and lines[0].endswith(":") else (lines or [""])[0]
    text = text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
    plain = isinstance(error, OSError | ValueError) and text
    return text if plain else f"{type(error).__name__}: {text}".removesuffix(": ")
