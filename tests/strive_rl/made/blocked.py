"""A command line, one function of which says that it is called and then waits for signals for ever.

`python -m tests.strive_rl.made.blocked MODULE:FUNCTION CALL PROGRAM ARGUMENTS…` blocks the CALL-th call.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

from strive_rl.common import signals

HERE, ENDING = "the function is called", "an exception ends the function"


def wait_for_ever() -> NoReturn:
    while True:
        signal.pause()


def main() -> None:
    target, call, program, *arguments = sys.argv[1:]
    where, _, name = target.partition(":")
    module, left = import_module(where), int(call)
    real = getattr(module, name)

    def blocked(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            return real(*given, **named)
        try:
            print(HERE, flush=True)  # inside: the signal may come before the next line
            wait_for_ever()
        except BaseException:
            print(ENDING, flush=True)
            wait_for_ever()

    setattr(module, name, blocked)
    signals.ONE_WITHIN_SECONDS = 0.0
    sys.argv = [program, *arguments]
    import_module(f"{program}.cli").main()


if __name__ == "__main__":
    main()
