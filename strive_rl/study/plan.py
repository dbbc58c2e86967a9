"""A study's TOML file → what is trained and evaluated.

baseline = "grpo"          # the arm that the others are compared with
seeds = [0, 1, 2, 3]
points = [0.25, 0.5, 1.0]  # shares of the steps after which a run is evaluated; default the end
[train]                    # settings of `strive-rl train` for all arms
[eval]                     # settings of `strive-rl eval`
[arms.grpo]                # settings of this arm, over those of [train]
[arms.strive]
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strive_data.common.settings import choose, load, require
from strive_data.errors import SettingsError
from strive_rl.common.run_settings import RESULTS_FILE, flat
from strive_rl.config import TrainSettings
from strive_rl.eval.config import EvalSettings

KEYS = ("baseline", "seeds", "points", "train", "eval", "arms")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train, by name; a run takes its settings with a seed of the study."""

    name: str
    settings: TrainSettings


@dataclass(frozen=True, kw_only=True)
class Study:
    """Arms, the baseline first; the seeds that each is trained with; how all are evaluated, and after which
    shares of the steps, the last of them 1."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    evaluation: EvalSettings
    points: tuple[float, ...] = (1.0,)

    def steps(self, arm: Arm) -> tuple[int, ...]:
        """The steps after which a run of this arm is evaluated."""
        return tuple(max(1, round(point * arm.settings.steps)) for point in self.points)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a study from `model`: `steps` are those after which it is evaluated, the last of them its
    own. Without `settings` the model is evaluated as it is."""

    name: str
    folder: Path
    model: str
    evaluation: EvalSettings
    settings: TrainSettings | None = None
    steps: tuple[int, ...] = (0,)

    @property
    def finished(self) -> bool:
        """Whether every evaluation exists."""
        return all((self.results(step) / RESULTS_FILE).is_file() for step in self.steps)

    def results(self, step: int) -> Path:
        """Folder of the evaluation after `step` steps."""
        return self.folder / ("eval" if step == self.steps[-1] else f"eval-{step}")


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
    all_seeds = _seeds(tree.get("seeds"), path)
    require(
        seeds is None or 1 <= seeds <= len(all_seeds),
        f"--seeds: got {seeds}, expected 1 to {len(all_seeds)}, the number of seeds in {path}",
    )
    points = _points(tree.get("points", [1.0]), path)
    return Study(
        arms=tuple(
            _saved_at(_arm(name, shared | dict(flat(_section(arms, name, path))) | given), points)
            for name in ordered
        ),
        points=points,
        seeds=all_seeds[:seeds],
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


def _points(given: object, path: Path) -> tuple[float, ...]:
    points = given if isinstance(given, list) else []
    numbers = [point for point in points if type(point) in (int, float) and 0 < point <= 1]
    require(
        len(numbers) == len(points) > 0 and numbers == sorted(set(numbers)) and numbers[-1] == 1,
        f"points in {path}: got {given!r}, expected rising shares of the steps, the last of them 1",
    )
    return tuple(float(point) for point in numbers)


def _saved_at(arm: Arm, points: Sequence[float]) -> Arm:
    """The arm with a checkpoint at every point; all are kept until the run has been evaluated."""
    if len(points) == 1:
        return arm
    steps = arm.settings.steps
    exact = [point * steps for point in points]
    require(
        all(abs(step - round(step)) < 1e-6 for step in exact),
        f"arm {arm.name}: {steps} steps do not divide at the points {', '.join(f'{p:g}' for p in points)}; "
        f"give a number of steps that does{_divisible(points)}",
    )
    every = math.gcd(*(round(step) for step in exact))
    return replace(arm, settings=replace(arm.settings, save_every=every, keep=0))


def _divisible(points: Sequence[float]) -> str:
    least = next((n for n in range(1, 101) if all(abs(n * p - round(n * p)) < 1e-6 for p in points)), None)
    return f", a multiple of {least}" if least else ""


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
