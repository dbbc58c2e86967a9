"""Which questions a step takes with `data.selection = "variance"`: those whose completions probably differ.

A question with pass rate p has completions of variance p(1 − p); with p near 0 or 1 they all agree and
nothing is learned. p is not known: its estimate is Beta(1 + right, 1 + wrong) over the question's own
rollouts, soft counts where an accuracy lies between 0 and 1. The expected variance is then

    E[p(1 − p)] = a·b / ((a + b)(a + b + 1))   for Beta(a, b)

Older rollouts are of an older policy: before new ones are added, the counts are halved. A batch is drawn
without replacement (Efraimidis & Spirakis, Information Processing Letters 97, 2006: the smallest
exponential waiting times), with weight floor/N + (1 − floor)·E_i/ΣE. A question whose data or prompt cannot
be used is not drawn again. All of it is a function of the seed, the number of batches drawn and the counts,
which are part of a checkpoint: a resumed run draws the same batches, on any number of processes.

Differs from the rule of thumb of published recipes, which drop questions by a fixed range of pass rates
before training: here nothing is dropped, and the estimates follow the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from strive_data.errors import UsageError
from strive_rl.data.sampler import Cursor, Stream, random_bits
from strive_rl.schema import Group, SampleRef

Floats = npt.NDArray[np.float64]

# The last word of the Philox counter; 0 and 1 order the epochs, 2 samples completions.
PURPOSE = 3
# What is left of older counts when a question is sampled again.
KEPT = 0.5
PROBE_COLUMNS = ("sample_id", "passed", "completions")


Outcome = tuple[int, float, int]
"""What a step found out about a question: its position, the sum of the accuracies of its completions, and
their number; 0 completions where it cannot be used."""


class PassRates:
    """Estimates of the pass rate of each of N questions: soft counts `right` and `wrong`, float64 [N], and
    whether it is `usable`, bool [N]."""

    def __init__(self, count: int) -> None:
        self.right, self.wrong = np.zeros(count), np.zeros(count)
        self.usable = np.ones(count, dtype=np.bool_)

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes of all processes."""
        for place, passed, completions in outcomes:
            self.usable[place] = completions > 0
            if completions:
                self.right[place] = KEPT * self.right[place] + passed
                self.wrong[place] = KEPT * self.wrong[place] + completions - passed

    @property
    def expected_variance(self) -> Floats:
        """E[p(1 − p)] of each question, float64 [N] in (0, ¼)."""
        a, b = 1 + self.right, 1 + self.wrong
        variance: Floats = a * b / ((a + b) * (a + b + 1))
        return variance

    def weights(self, floor: float) -> Floats:
        """Weight of each question in a draw, float64 [N], sums to 1; 0 for those that cannot be used.

        Raises UsageError where none can.
        """
        if not self.usable.any():
            raise UsageError("data.selection=variance: no question is left that can be used")
        variance = self.expected_variance * self.usable
        shares: Floats = floor * self.usable / self.usable.sum() + (1 - floor) * variance / variance.sum()
        return shares

    def state(self) -> dict[str, Any]:
        """The estimates as plain arrays by name, for a checkpoint."""
        return {"right": self.right, "wrong": self.wrong, "usable": self.usable}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the estimates of a checkpoint."""
        for name, values in self.state().items():
            values[:] = np.asarray(state[name])


def start_rates(sample_ids: Sequence[str], file: str | None) -> PassRates:
    """Estimates before the first step: of a file of `strive-rl probe`, or all alike.

    Questions that are not in the file start like those of no file. Raises UsageError for a file that is no
    table of pass rates, or that holds none of the questions.
    """
    rates = PassRates(len(sample_ids))
    if file is None:
        return rates
    totals = _probed(Path(file))
    outcomes = [(place, *totals[name]) for place, name in enumerate(sample_ids) if name in totals]
    if not outcomes:
        raise UsageError(f"data.pass_rates {file}: it holds none of the {len(sample_ids)} questions")
    rates.observe(outcomes)
    return rates


def _probed(file: Path) -> dict[str, tuple[float, int]]:
    """(passed, completions) of each question, over all variants."""
    try:
        table = pl.read_parquet(file, columns=list(PROBE_COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"data.pass_rates {file}: no file of strive-rl probe with {', '.join(PROBE_COLUMNS)} ({error})"
        ) from error
    sums = table.group_by("sample_id").agg(pl.col("passed", "completions").sum())
    return {str(name): (float(passed or 0), int(done)) for name, passed, done in sums.iter_rows()}


def draw_batch(
    cursor: Cursor, stream: Stream, weights_N: Floats, size: int
) -> tuple[list[SampleRef], Cursor]:
    """`size` questions by weight, and the cursor after them, whose epoch is the number of draws.

    No question comes twice in a draw; where fewer can be used than `size`, another draw fills the batch.
    """
    refs: list[SampleRef] = []
    most = int((weights_N > 0).sum())
    while len(refs) < size:
        bits = random_bits(stream.seed, cursor.epoch, PURPOSE, len(weights_N))
        uniforms = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        waits = np.full(len(weights_N), np.inf)
        np.divide(-np.log(uniforms), weights_N, out=waits, where=weights_N > 0)
        positions = np.argsort(waits, kind="stable")[: min(size - len(refs), most)]
        refs += [SampleRef(position=int(position), epoch=cursor.epoch) for position in positions]
        cursor = Cursor(epoch=cursor.epoch + 1)
    return refs, cursor


def outcomes_of(
    refs: Sequence[SampleRef], encoded: Sequence[Group], rewarded: Sequence[Group]
) -> list[Outcome]:
    """The outcomes of the questions that this process took. One that has a prompt but no rewards, since the
    reward failed, has none: it may be drawn again."""
    grids = {group.ref: group.reward_grid("accuracy") for group in rewarded}
    prompted = {group.ref for group in encoded}
    found = [(ref.position, float(grids[ref].sum()), grids[ref].size) for ref in refs if ref in grids]
    return found + [(ref.position, 0.0, 0) for ref in refs if ref not in prompted]
