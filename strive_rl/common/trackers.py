"""Steps told to TensorBoard or Weights & Biases, beside metrics.jsonl, which is always written.

Both are extras, imported where a run asks for them by `log`. They get every number of a step under the name
of METRICS.md with slashes for dots (`per_second/tokens`), so that they group them by section.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from strive_data.errors import UsageError

# The numbers of a step's record, flat: what a curve can be drawn of. Pure.


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a record by its dotted name (METRICS.md).

    Places of a list of numbers are names too (`reward_by_variant.0`); a list of anything else counts by its
    length (`dropped`). What is None is left out.
    """
    return dict(_numbers(record, ""))


def _numbers(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from _listed(f"{prefix}{name}", value)
        elif _is_number(value):
            yield prefix + name, float(value)


def _listed(name: str, values: list[Any]) -> Iterator[tuple[str, float]]:
    if values and all(_is_number(value) for value in values):
        yield from ((f"{name}.{place}", float(value)) for place, value in enumerate(values))
    elif not name.endswith("_by_variant"):
        yield name, float(len(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


WANDB_ID_FILE = "wandb-id"
# What is told is a step's: its number is not a value of its own.
LEFT_OUT = "step"


class Tracker(Protocol):
    """Where steps are told."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The values of one step, by name."""

    def close(self) -> None:
        """After the last step, or the one that failed."""


class TensorBoard:
    """Event files in OUT/tensorboard; what an earlier try wrote behind the step that is gone on from is
    hidden."""

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
    """One run of W&B for one run of ours, by an id kept in OUT; its own environment variables say where
    (WANDB_PROJECT, default strive-video) and whether at all (WANDB_MODE=offline). W&B keeps the first value
    of a step: after a resume, steps that were told before are not told anew."""

    def __init__(self, out: Path, settings: Mapping[str, Any], step: int) -> None:
        import wandb

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
        """Send what is queued."""
        self._run.finish()


Maker = Callable[[Path, Mapping[str, Any], int], Tracker]
TRACKERS: dict[str, Maker] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def require_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for a tracker whose package is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"log={name}: it is not installed; pip install 'strive-video[{name}]'")


@contextmanager
def tracking(
    names: Sequence[str], out: Path, settings: Mapping[str, Any], step: int
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that tells a step's record to the named trackers; they are closed however this ends."""
    with ExitStack() as stack:
        trackers = []
        for name in names:
            tracker = TRACKERS[name](out, settings, step)
            stack.callback(tracker.close)
            trackers.append(tracker)

        def tell(record: Mapping[str, Any]) -> None:
            values = {
                name.replace(".", "/"): value for name, value in numbers(record).items() if name != LEFT_OUT
            }
            for tracker in trackers:
                tracker.write(record["step"], values)

        yield tell


def _kept_id(file: Path) -> str:
    if not file.is_file():
        file.write_text(uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")
