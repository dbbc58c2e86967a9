"""The folder of a run: its checkpoints, found, chosen, verified and removed. Needs no torch.

A folder called checkpoint-000100 is complete: it is written under another name and renamed when whole
(strive_rl/train/checkpoint.py). Damage that comes later is found by its manifest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from strive_data.common.text import plural
from strive_data.errors import DamagedError, UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import (
    MANIFEST_FILE,
    STATE_FILE,
    find_damage,
    has_lost_manifest,
    has_manifest,
)
from strive_rl.common.run_settings import METRICS_FILE, RECORD_KEYS, ROLLOUTS_FILE, SETTINGS_FILE

MODEL_FOLDER = "model"
BEST_LINK = "best"
PREFIX = "checkpoint-"
NAME = re.compile(rf"{PREFIX}(\d+)")
OWN = re.compile(rf"{PREFIX}\d+|{MODEL_FOLDER}")
# What a killed process leaves of a folder: one being written or removed, and one being replaced.
TEMPORARY = re.compile(rf"\.({OWN.pattern})\.(tmp|old)")


def checkpoint_folder(out: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps: OUT/checkpoint-000100."""
    return out / f"{PREFIX}{step:06d}"


def checkpoints(out: Path) -> dict[int, Path]:
    """The checkpoints of a run by their steps, the oldest first. No other name counts as one. One with a
    manifest that has lost its state is damaged, not absent."""
    named = [(NAME.fullmatch(path.name), path) for path in out.glob(PREFIX + "*")]
    return dict(
        sorted(
            (int(name[1]), path)
            for name, path in named
            if name and ((path / STATE_FILE).is_file() or has_manifest(path))
        )
    )


def latest(out: Path) -> Path | None:
    """The newest checkpoint of a run, or None."""
    return next(reversed(checkpoints(out).values()), None)


def find(out: Path, wanted: Path | None) -> Path | None:
    """As `choose`, without a look at its files."""
    if wanted is None:
        return latest(out)
    known = checkpoints(out)
    folder = next((path for path in known.values() if path.name == wanted.name), None)
    if folder is None or (len(wanted.parts) > 1 and wanted.resolve() != folder.resolve()):
        names = ", ".join(path.name for path in known.values()) or "no checkpoint"
        raise UsageError(f"--resume-from {wanted}: not a checkpoint of {out}; it holds {names}")
    return folder


def choose(out: Path, wanted: Path | None = None) -> Path | None:
    """The checkpoint to resume from: the newest, or `wanted`, a folder or its name. None where there is none.

    Raises UsageError where `wanted` is no checkpoint of the run, DamagedError that names the damaged file and
    the newest intact checkpoint.
    """
    folder = find(out, wanted)
    damage = next(find_damage(folder), None) if folder else _stripped(out)
    if damage:
        others = (path for path in reversed(checkpoints(out).values()) if path != folder)
        intact = next((path for path in others if not any(find_damage(path))), None)
        advice = (
            f"resume from the newest intact checkpoint with --resume-from {intact.name}"
            if intact
            else "no checkpoint of the run is intact: start again with another --out"
        )
        raise DamagedError(f"{damage}; {advice}")
    return folder


def _stripped(out: Path) -> str | None:
    """What to say of a folder with a checkpoint's name and neither state nor manifest: without a word the run
    would start over."""
    named = sorted(path for path in out.glob(PREFIX + "*") if NAME.fullmatch(path.name) and path.is_dir())
    return f"{named[-1]}: {STATE_FILE} and its manifest are missing" if named else None


def prune(out: Path, keep: int, best: int | None = None) -> None:
    """Remove all checkpoints of a run but the `keep` newest (0: all) and that of step `best`. Nothing else is
    ever touched."""
    folders = [(step, path) for step, path in checkpoints(out).items() if not path.is_symlink()]
    for folder in [path for step, path in (folders[:-keep] if keep else []) if step != best]:
        doomed = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)


def clean(out: Path) -> None:
    """Remove what a killed process left of folders that it wrote or removed; a replaced one comes back."""
    for path in sorted(out.glob(".*")):
        match = TEMPORARY.fullmatch(path.name)
        if match and match[2] == "old" and not (out / match[1]).exists():
            path.rename(out / match[1])
        elif match and path.is_dir():
            shutil.rmtree(path)


def set_aside_after(out: Path, step: int) -> list[Path]:
    """Rename the checkpoints after `step`, from where a run resumes; their new names.

    Nothing is deleted: their weights may be of use.
    """
    moved = []
    for later, folder in checkpoints(out).items():
        if later > step:
            names = (folder.with_name(f"{folder.name}.set-aside-{number}") for number in count(1))
            moved.append(folder.rename(next(name for name in names if not name.exists())))
    return moved


def link_best(out: Path, folder: Path | None) -> None:
    """Make OUT/best a link to this checkpoint, or remove it; a reader sees the old or the new one."""
    link, temporary = out / BEST_LINK, out / f".{BEST_LINK}.tmp"
    temporary.unlink(missing_ok=True)
    if folder is None:
        link.unlink(missing_ok=True)
        return
    temporary.symlink_to(folder.name)
    temporary.replace(link)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A line for each problem, and one on what was checked."""

    problems: tuple[str, ...]
    summary: str


def verify(folder: Path) -> Report:
    """Check the folders of a run that have, or had, a manifest, and its logs; or one checkpoint or model.

    Raises UsageError for a folder that is none of these.
    """
    run = (folder / SETTINGS_FILE).is_file()
    inside = sorted(path for path in folder.glob("*") if path.is_dir() and OWN.fullmatch(path.name))
    folders = inside if run else [folder]
    checked = [each for each in folders if has_manifest(each) or has_lost_manifest(each)]
    if not run and not checked:
        raise UsageError(
            f"{folder}: no {MANIFEST_FILE} in it, expected a run, a checkpoint or a model of ours"
        )
    problems = [line for each in checked for line in find_damage(each)]
    problems += _damaged_logs(folder) if run else []
    found = plural(len(problems), "problem") if problems else "no problem"
    without = [each.name for each in folders if each not in checked]
    old = f"; without a {MANIFEST_FILE}, not checked: {', '.join(without)}" if without else ""
    return Report(
        problems=tuple(problems),
        summary=f"{folder}: {found}; checked {plural(len(checked), 'model folder')}{old}",
    )


def _damaged_logs(run: Path) -> Iterator[str]:
    try:
        jsonl.read_json(run / SETTINGS_FILE, RECORD_KEYS)
        for name in (METRICS_FILE, ROLLOUTS_FILE):
            for _ in jsonl.scan(run / name, ["step"]):
                pass
    except UsageError as error:
        yield str(error)
