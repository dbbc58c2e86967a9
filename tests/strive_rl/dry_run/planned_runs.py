"""Published runs, planned on small shards that say that they are of the published size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from strive_data.common.settings import load, settings_file
from strive_data.config import BuildSettings
from strive_rl.config import TrainSettings
from strive_rl.dry_run.plan import Plan, plan
from tests.strive_rl.made.shards import SETTINGS, make_shards

# The model of a run by the end of its name, and the build that it is trained on.
MODELS = {
    "qwen2.5-vl-7b": ("qwen2.5-vl", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3-vl-8b": ("qwen3-vl", "Qwen/Qwen3-VL-8B-Instruct"),
}


def settings_of(run: str) -> TrainSettings:
    return load(TrainSettings, config=settings_file(Path(run), "runs"))


def build_named(name: str) -> BuildSettings:
    return load(BuildSettings, config=settings_file(Path(name), "builds"))


def build_of(run: str) -> BuildSettings:
    (name,) = (build for model, (build, _) in MODELS.items() if run.endswith(model))
    return build_named(name)


def planned(folder: Path, run: str, processes: int = 1) -> Plan:
    """The plan of a published run as its build would give it; everything is made below `folder`."""
    home = folder / f"{run}-{processes}"
    home.mkdir()
    wanted = build_of(run)
    small = replace(wanted, sampler=SETTINGS.sampler, shard=SETTINGS.shard)
    shards = make_shards(home / "shards", settings=small)
    (model,) = (name for model, (_, name) in MODELS.items() if run.endswith(model))
    made = plan([shards], model=model, settings=settings_of(run), processes=processes)
    return replace(made, frames=wanted.sampler.frames)
