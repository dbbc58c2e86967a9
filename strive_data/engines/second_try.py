"""The second try, by the other reader, after one hung, died or took too much memory.

Used by every engine. Which reader gave a video's frames is recorded with them (VideoInfo.reader): a second
try depends on limits of time, and so on the machine, unlike all else of a build.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from strive_data.config import DecodeSettings
from strive_data.engines.engine import VideoPath
from strive_data.errors import SampleError


class Disaster(Exception):  # noqa: N818  # no error of the code: it is caught where it is raised
    """A video's process hung, died or took too much memory; `error` says which."""

    def __init__(self, error: SampleError) -> None:
        super().__init__(error.message)
        self.error = error


def other_reader(settings: DecodeSettings) -> DecodeSettings | None:
    """Settings of the second try: decord where the reader is free and decord installed, else None.

    A reader that the user named is not replaced.
    """
    if settings.reader != "auto" or importlib.util.find_spec("decord") is None:
        return None
    return replace(settings, reader="decord")


def first_reader(settings: DecodeSettings) -> str:
    """Name of the reader of the first try: of `auto` the planned PyAV reader."""
    return "pyav" if settings.reader == "auto" else settings.reader


def both_failed(
    path: VideoPath, first: tuple[str, SampleError], second: tuple[str, SampleError]
) -> SampleError:
    """One error for two tries (reader, error), of the first one's kind: the path once, the words of both."""
    said = f"{path}: "
    words = (
        f"{reader}: {error.kind}: {error.message.removeprefix(said)}" for reader, error in (first, second)
    )
    return SampleError(first[1].kind, said + "; ".join(words))
