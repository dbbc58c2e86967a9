"""Values of strangers' files as messages show them."""

from __future__ import annotations

import reprlib

from strive_data.errors import SampleError

MOST_CHARACTERS = 80


def shown(value: object) -> str:
    """The value as a message shows it: one line, cut to 80 characters, pure enough for UTF-8."""
    if isinstance(value, SampleError):
        return value.message
    if isinstance(value, list | dict):
        text = reprlib.repr(value)  # bounded in depth too
    else:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
