"""A study's TOML file → what is trained and evaluated.

baseline = "grpo"          # the arm that the others are compared with
seeds = [0, 1, 2, 3]
[train]                    # settings of `strive-rl train` for all arms
[eval]                     # settings of `strive-rl eval`
[arms.grpo]                # settings of this arm, over those of [train]
[arms.strive]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose, load, require
from strive_data.errors import SettingsError
from strive_rl.common.run_settings import flat
from strive_rl.config import TrainSettings
from strive_rl.eval.config import EvalSettings

KEYS = ("baseline", "seeds", "train", "eval", "arms")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train, by name; its settings' seed is that of each run."""

    name: str
    settings: TrainSettings

    def with_seed(self, seed: int) -> TrainSettings:
        """The settings of one run."""
        return replace(self.settings, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Arms, the baseline first; the seeds that each is trained with; how all are evaluated."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    evaluation: EvalSettings


def read_study(path: Path, *, seeds: int | None = None, steps: int | None = None) -> Study:
    """The study of a file, or only its first `seeds` seeds, or `steps` steps of each run.

    Raises SettingsError for a file that cannot be read, unknown names, and settings that an arm refuses.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"study {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"study {path} is not TOML: {error}") from error
    for name in tree:
        choose(name, KEYS, f"name in {path}")
    arms = _section(tree, "arms", path)
    baseline = choose(str(tree.get("baseline")), arms, f"baseline in {path}")
    ordered = [baseline, *(name for name in arms if name != baseline)]
    shared = dict(flat(_section(tree, "train", path)))
    given = {} if steps is None else {"steps": steps}
    return Study(
        arms=tuple(_arm(name, shared | dict(flat(_section(arms, name, path))) | given) for name in ordered),
        seeds=_seeds(tree.get("seeds"), path)[:seeds],
        evaluation=load(EvalSettings, options=dict(flat(_section(tree, "eval", path)))),
    )


def _arm(name: str, options: Mapping[str, object]) -> Arm:
    require(
        name.replace("-", "").replace("_", "").isalnum(), f"arm {name!r}: expected letters, digits, - and _"
    )
    require("seed" not in options, f"arm {name}: the seeds of a study are in `seeds`, leave out `seed`")
    try:
        return Arm(name=name, settings=load(TrainSettings, options=options))
    except SettingsError as error:
        raise SettingsError(f"arm {name}: {error}") from error


def _seeds(given: object, path: Path) -> tuple[int, ...]:
    """At least one, each once, and all whole."""
    seeds = given if isinstance(given, list) else []
    whole = [seed for seed in seeds if type(seed) is int and seed >= 0]
    require(
        bool(whole) and len(set(whole)) == len(seeds),
        f"seeds in {path}: got {given!r}, expected a list of different whole numbers from 0",
    )
    return tuple(whole)


def _section(tree: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    section = tree.get(name, {})
    require(isinstance(section, Mapping), f"{name} in {path}: got {section!r}, expected a section")
    return dict(section)
