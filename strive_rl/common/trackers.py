"""Steps sent to TensorBoard or Weights & Biases, beside metrics.jsonl, which is always written.

Both are extras, imported where a run names them in `log`. They get every number of a step under the name of
METRICS.md with slashes for dots (`per_second/tokens`), so that they group them by section. A tracker that
fails is dropped with a warning: training goes on.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from strive_data.common.console import echo
from strive_data.common.hub import unreachable
from strive_data.errors import UsageError
from strive_rl.common.model_folder import one_line
from strive_rl.common.run_settings import flat

WANDB_ID_FILE = "wandb-id"
WANDB_URL = "https://api.wandb.ai"
FINISH_SECONDS = 60.0
# Not a value of a step: its number is given apart.
LEFT_OUT = "step"


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a record by its dotted name (METRICS.md).

    Places of a list of numbers are names too (`reward_by_variant.0`); a list of anything else counts by its
    length (`dropped`). What is None is left out.
    """
    found: dict[str, float] = {}
    for name, value in flat(record):
        if isinstance(value, list):
            if value and all(map(_is_number, value)):
                found |= {f"{name}.{place}": float(each) for place, each in enumerate(value)}
            elif not name.endswith("_by_variant"):
                found[name] = float(len(value))
        elif _is_number(value):
            found[name] = float(value)
    return found


def _is_number(value: object) -> bool:
    """A whole number that a float cannot hold is none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 1 << 1000
    return isinstance(value, float)


class Tracker(Protocol):
    """Where steps are sent."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The values of one step, by name."""

    def close(self) -> None:
        """After the last step, or the one that failed."""


class TensorBoard:
    """Event files in OUT/tensorboard; steps that an earlier try wrote after the resumed one are hidden."""

    def __init__(self, out: Path, settings: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Written at once, so that a page that is open shows it."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """One run of W&B for one run of ours, by an id kept in OUT.

    Its own environment variables give the project (WANDB_PROJECT, default strive-video) and the mode
    (WANDB_MODE=offline). W&B keeps the first value of a step: after a resume it ignores steps that it has.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], step: int) -> None:
        import wandb

        # Versions that have this setting do not wait longer at the end of the process either.
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", f"{FINISH_SECONDS:g}")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "strive-video"),
            name=out.resolve().name,
            id=_kept_id(out / WANDB_ID_FILE),
            resume="allow",
            dir=str(out),
            config=dict(settings),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Queued; W&B sends by itself."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Send what is queued. Raises TimeoutError where that takes longer than FINISH_SECONDS."""
        sent: Future[None] = Future()

        def send() -> None:
            try:
                self._run.finish()
                sent.set_result(None)
            except Exception as error:  # Any: it is raised again by the thread that waits.
                sent.set_exception(error)

        Thread(target=send, daemon=True).start()
        if not wait([sent], FINISH_SECONDS).done:
            raise TimeoutError(f"not all was sent within {FINISH_SECONDS:g} s; `wandb sync` sends the rest")
        sent.result()


Maker = Callable[[Path, Mapping[str, Any], int], Tracker]
TRACKERS: dict[str, Maker] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def require_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for a tracker that is not installed, and for W&B without a key or a network."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"log={name}: it is not installed; pip install 'strive-video[{name}]'")
    if "wandb" in names and os.environ.get("WANDB_MODE", "online") in ("online", "shared"):
        _require_wandb_account(os.environ.get("WANDB_BASE_URL", WANDB_URL))


def _require_wandb_account(url: str) -> None:
    without = "set WANDB_MODE=offline to keep its files here, or leave wandb out of log"
    host = urlsplit(url).hostname or url
    if not os.environ.get("WANDB_API_KEY") and not _netrc_has(host):
        raise UsageError(f"log=wandb: no key for {host}; set WANDB_API_KEY or run `wandb login`; {without}")
    if error := unreachable(url):
        raise UsageError(f"log=wandb: cannot reach {host}: {error}; {without}")


def _netrc_has(host: str) -> bool:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


@contextmanager
def tracking(
    names: Sequence[str], out: Path, settings: Mapping[str, Any], step: int
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that sends a step's record to the named trackers; they are closed however the block ends.

    A tracker that fails, at the start too, is dropped with one warning.
    """
    open_trackers: dict[str, Tracker] = {}

    def attempt(name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # Any: clients raise errors of no common type; none may end a run.
            open_trackers.pop(name, None)
            echo(
                f"warning: log={name} failed: {one_line(error)}; training goes on without it, metrics.jsonl "
                "has every step",
                err=True,
            )

    def start(name: str) -> None:
        open_trackers[name] = TRACKERS[name](out, settings, step)

    def track(record: Mapping[str, Any]) -> None:
        values = {key.replace(".", "/"): value for key, value in numbers(record).items() if key != LEFT_OUT}
        for name, tracker in list(open_trackers.items()):
            attempt(name, partial(tracker.write, record["step"], values))

    for name in names:
        attempt(name, partial(start, name))
    try:
        yield track
    finally:
        for name, tracker in list(open_trackers.items()):
            attempt(name, tracker.close)


def _kept_id(file: Path) -> str:
    if not file.is_file():
        file.write_text(uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")
