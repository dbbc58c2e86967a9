"""Validation while training: the policy's accuracy on a held-out build, and the best checkpoint by it.

Accuracy on held-out questions often peaks before the last step, so the checkpoint of the peak is kept. What
is kept and when the run ends follows from what a checkpoint holds: a resumed run decides the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strive_data.common.text import plural
from strive_data.shards.reader import ShardSet
from strive_rl.common import distributed
from strive_rl.common.progress import phases_of
from strive_rl.common.run_folder import BEST_LINK
from strive_rl.config import TrainSettings
from strive_rl.eval.answer import Asked, chosen_frames, groups_of
from strive_rl.eval.config import EvalSettings
from strive_rl.eval.frames import chosen_places, evaluation_settings, frame_sampler
from strive_rl.eval.on_shards import Dropped, Prediction, predict, summarise
from strive_rl.policy import Policy
from strive_rl.rollout.groups import newest_weights

if TYPE_CHECKING:
    from strive_rl.train.state import TrainState


@dataclass(frozen=True, kw_only=True)
class Best:
    """The highest accuracy so far, after `step` steps; `waited` later evaluations did not exceed it."""

    step: int
    accuracy: float
    waited: int = 0


def updated(best: Best | None, step: int, accuracy: float) -> Best:
    """The best evaluation after one more; of equal accuracies the earliest is the best. Pure."""
    if best is None or accuracy > best.accuracy:
        return Best(step=step, accuracy=accuracy)
    return Best(step=best.step, accuracy=best.accuracy, waited=best.waited + 1)


def exhausted(run: TrainState) -> bool:
    """Whether `validation.patience` evaluations in a row brought no higher accuracy."""
    patience = run.settings.validation.patience
    return bool(patience and run.best and run.best.waited >= patience)


def validate(run: TrainState, record: dict[str, Any]) -> None:
    """Evaluate after this step where that is due, move `run.best`, and add the result to the step's record.

    All processes must call it. Raises StriveError where no held-out question can be used, DamagedError for
    damaged stored data.
    """
    due = run.step % run.settings.validation.every == 0 or run.step == run.settings.steps
    if run.heldout is None or not due:
        return
    began = time.perf_counter()
    settings = evaluation_settings(run.settings)
    places = chosen_places(len(run.heldout), run.settings.validation.questions)
    mine = places[distributed.rank() :: distributed.world_size()]
    rows: list[Prediction] = []
    dropped: list[Dropped] = []
    shown = f"{settings.samplers[0]} frames"

    def asked() -> str:
        number = min(len(rows) + len(dropped) + 1, len(mine))
        return f"held-out question {number} of {len(mine)}, {shown}"

    with newest_weights(run.engine, run.policy, run.step), phases_of(asked):
        for made, lost in predict(run.policy, run.heldout, settings, run.engine, mine):
            rows += made
            dropped += lost
    rows, dropped = distributed.all_gather_list(rows), distributed.all_gather_list(dropped)
    rows.sort(key=lambda row: str(row["sample_id"]))
    record["heldout"] = heldout_record(rows, dropped, settings, run.step)
    run.best = updated(run.best, run.step, record["heldout"]["accuracy"])
    record["seconds"]["heldout"] = round(max(distributed.all_gather(time.perf_counter() - began)), 4)


def require_readable(heldout: ShardSet | None, policy: Policy, settings: TrainSettings) -> None:
    """Raise UsageError where the frames of the held-out build cannot be chosen or read by this policy."""
    if heldout is None:
        return
    first = [Asked(sample=heldout.read(0), position=0)]
    groups_of(policy, first, chosen_frames(first, evaluation_settings(settings).columns[0]))


def closing_lines(run: TrainState) -> list[str]:
    """What a run that came to its end says of its evaluations."""
    best = run.best
    if best is None:
        return []
    lines = [
        f"{run.out / BEST_LINK}: the checkpoint of the highest held-out accuracy, {best.accuracy:.3f} after "
        f"step {best.step} ({frame_sampler(run.settings)} frames)"
    ]
    if exhausted(run) and run.step < run.settings.steps:
        after = plural(best.waited, "evaluation")
        lines.append(f"ended at step {run.step} of {run.settings.steps}: {after} without a higher accuracy")
    return lines


def heldout_record(
    rows: Sequence[Prediction], dropped: Sequence[Dropped], settings: EvalSettings, step: int
) -> dict[str, Any]:
    """The section `heldout` of a step's record (METRICS.md)."""
    (made,) = summarise(rows, settings).values()
    accuracy = made["accuracy"]
    if accuracy is None:
        count = plural(len(dropped), "held-out question")
        distributed.stop(f"step {step}: none of {count} can be used; the first is {dropped[0]['reason']}")
    return {
        "accuracy": accuracy["mean"],
        "accuracy_low": accuracy["low"],
        "accuracy_high": accuracy["high"],
        "questions": accuracy["questions"],
        "videos": accuracy["videos"],
        **{name: made[name] for name in ("format", "reward", "truncated_share")},
        "dropped": sorted(each["sample_id"] for each in dropped),
    }
