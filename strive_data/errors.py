"""Exceptions of both packages.

StriveError                what went wrong, where, and what to do; the command line prints it and ends with 2
├── UsageError             the caller gave something unusable (a folder, a setting, a model name)
│   └── SettingsError      a settings file or a `--set` that cannot be resolved
├── DamagedError           stored data is gone, cut short or not what was written; a reader may skip it
└── SampleError            one row or one video cannot be used: becomes a row of failures.parquet
"""

from __future__ import annotations

import signal
from enum import StrEnum


class FailureKind(StrEnum):
    """Why a row or a video could not be used (column `kind` of failures.parquet)."""

    MISSING = "missing"
    EMPTY = "empty"
    NOT_MEDIA = "not_media"
    NO_MOOV = "no_moov"
    NO_VIDEO_STREAM = "no_video_stream"
    UNSUPPORTED_CODEC = "unsupported_codec"
    ZERO_FRAMES = "zero_frames"
    TOO_SHORT = "too_short"
    PARTIAL_DECODE = "partial_decode"
    TIMEOUT = "timeout"
    OOM = "oom"
    CRASH = "crash"
    SCORE_FAILED = "score_failed"
    ENCODE_FAILED = "encode_failed"
    BAD_ROW = "bad_row"
    DUPLICATE_ID = "duplicate_id"
    OUTSIDE_ROOT = "outside_root"
    CHANGED = "changed"


class StriveError(Exception):
    """Base of all errors that are meant for the user's eyes."""


class UsageError(StriveError):
    """The caller gave something unusable; the message says what, where and what to do."""


class SettingsError(UsageError):
    """A settings file, a `--set` or an option that cannot be resolved."""


class DamagedError(StriveError):
    """Stored data is gone, cut short or not what was written. Storage that fails to answer is not this."""


class SampleError(StriveError):
    """One row or one video cannot be used. Only the pipeline catches it, and makes a failure row of it."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def __reduce__(self) -> tuple[type[SampleError], tuple[FailureKind, str]]:
        """Keep both fields when the error crosses a process boundary."""
        return type(self), (self.kind, self.message)


class Terminated(BaseException):
    """The process received a signal of ENDING. Not an Exception, like KeyboardInterrupt: no handler swallows
    it."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
