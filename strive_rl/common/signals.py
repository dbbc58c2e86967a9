"""A signal of `signals.ENDING` asks a run to end after its step; a second ends it at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from strive_data.common.signals import end_by, handling, say_now

# A terminal sends Ctrl-C to torchrun and to its processes, and torchrun forwards it to them: that is one.
ONE_WITHIN_SECONDS = 1.0


ANSWER = "finishing this step, then saving; again to stop now"


class StoppedError(Exception):
    """A signal ended the run after `step` steps, which are saved."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.step = step
        self.exit_code = 128 + number


class StopRequest:
    """The first signal that came, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at = 0.0

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Note the first signal; a later one has its default effect: it ends the process."""
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._at = int(number), now
            if os.environ.get("RANK", "0") == "0":
                say_now(f"{signal.Signals(number).name}: {ANSWER}")
        elif now - self._at > ONE_WITHIN_SECONDS:
            end_by(number)


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Note the signals that end a process inside of this context; only in the main thread."""
    asked = StopRequest()
    with handling(asked.note):
        yield asked
