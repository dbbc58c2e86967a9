"""The files of a run, a checkpoint or a model against their checksums, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import MANIFEST_FILE, find_damage, has_lost_manifest, has_manifest
from strive_rl.common.run_settings import METRICS_FILE, RECORD_KEYS, ROLLOUTS_FILE, SETTINGS_FILE

OWN_FOLDER = re.compile(r"checkpoint-\d+|model")


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
    inside = sorted(path for path in folder.glob("*") if OWN_FOLDER.fullmatch(path.name) and path.is_dir())
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
