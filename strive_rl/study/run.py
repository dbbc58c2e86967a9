"""One arm and seed after the other: train, evaluate, compare. A stopped study resumes where it was.

OUT/ARM/seed-N/run is a run of `strive-rl train`, OUT/ARM/seed-N/eval an evaluation of its model; a pair of
arm and seed is finished once its evaluation exists. All arms of a seed come before the next seed, so that a
study stopped early still compares equal seeds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from strive_data.common.output_folder import output_folder
from strive_data.common.settings import as_dict
from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.common.run_settings import holds_work, with_defaults
from strive_rl.eval.config import RESULTS_FILE
from strive_rl.eval.on_shards import evaluate
from strive_rl.eval.table import aligned
from strive_rl.study.paired import comparisons
from strive_rl.study.plan import Arm, Study
from strive_rl.train import state, trainer

STUDY_FILE = "study.json"
COSTS = ("prompts", "rollouts")

Observe = Callable[[str], None]


def run_study(
    study: Study, out: Path, *, shards: ShardSet, heldout: ShardSet, model: str, observe: Observe
) -> dict[str, Any]:
    """Run what is missing; the content of OUT/study.json: for each frame sampler the comparisons, and what
    each arm's training cost.

    Raises UsageError where OUT holds another study (more seeds may be added to one), and under torchrun.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("strive-rl study runs in one process: start it without torchrun")
    _claim(study, out, shards, heldout, model)
    for seed in study.seeds:
        for arm in study.arms:
            folder = out / arm.name / f"seed-{seed}"
            if not (folder / "eval" / RESULTS_FILE).is_file():
                observe(f"{arm.name}, seed {seed}")
                _run_one(arm, seed, folder, study, shards, heldout, model)
            _write(study, out)
    return jsonl.read_json(out / STUDY_FILE)


def study_table(results: dict[str, Any]) -> str:
    """Results as lines for the terminal, in per cent and points, ± one standard error."""
    lines: list[str] = []
    for sampler, arms in results["samplers"].items():
        rows = [(f"{sampler} frames", "accuracy", "gain", "seeds", *COSTS)]
        for each in arms:
            costs = (f"{results['costs'][each['arm']][name]:,}" for name in COSTS)
            seeds = str(each["accuracy"]["count"]) if each["accuracy"] else "0"
            rows.append((each["arm"], _shown(each["accuracy"]), _shown(each["gain"], "+"), seeds, *costs))
        lines += [*aligned(rows), ""]
    return "\n".join(lines[:-1])


def _run_one(
    arm: Arm, seed: int, folder: Path, study: Study, shards: ShardSet, heldout: ShardSet, model: str
) -> None:
    run = folder / "run"
    open_run = state.resume if holds_work(run) else state.start
    with output_folder(run):
        trained = trainer.fit(
            open_run(run, shards=shards, model=model, settings=arm.with_seed(seed)),
            lambda record, steps: None,
        )
    shutil.rmtree(folder / "eval", ignore_errors=True)
    evaluate(folder / "eval", shards=heldout, model=str(trained), settings=study.evaluation)


def _claim(study: Study, out: Path, shards: ShardSet, heldout: ShardSet, model: str) -> None:
    """Make OUT this study's, or check that it is: everything but the number of seeds must be the same.

    One that ended before the first step of its first run starts again.
    """
    mine = {
        "arms": {arm.name: as_dict(arm.settings) for arm in study.arms},
        "evaluation": as_dict(study.evaluation),
        "shards": shards.fingerprint,
        "heldout": heldout.fingerprint,
        "model": model,
    }
    path = out / STUDY_FILE
    if path.is_file():
        theirs = jsonl.read_json(path)["study"]
        theirs["arms"] = {name: with_defaults(arm) for name, arm in theirs.get("arms", {}).items()}
        changed = [name for name, value in mine.items() if theirs.get(name) != value]
        if not changed:
            return
        if any(map(holds_work, out.glob("*/seed-*/run"))):
            raise UsageError(f"{out} holds another study ({', '.join(changed)} differ): give another --out")
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no study: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    jsonl.write_json(path, {"study": mine, "samplers": {}, "costs": {}})


def _write(study: Study, out: Path) -> None:
    """study.json of all that is done so far."""
    done = {arm.name: _done(out / arm.name) for arm in study.arms}
    base = study.arms[0].name
    samplers = {
        sampler: [
            asdict(each)
            for each in comparisons({name: _accuracies(runs, sampler) for name, runs in done.items()}, base)
        ]
        for sampler in study.evaluation.samplers
    }
    costs = {name: {cost: _cost(out / name, runs, cost) for cost in COSTS} for name, runs in done.items()}
    body = jsonl.read_json(out / STUDY_FILE) | {"samplers": samplers, "costs": costs}
    jsonl.write_json(out / STUDY_FILE, body)


def _done(folder: Path) -> dict[int, dict[str, Any]]:
    """Results of the evaluations of an arm, by seed."""
    found = {
        int(path.parts[-3].removeprefix("seed-")): path for path in folder.glob(f"seed-*/eval/{RESULTS_FILE}")
    }
    return {seed: jsonl.read_json(found[seed]) for seed in sorted(found)}


def _accuracies(runs: dict[int, dict[str, Any]], sampler: str) -> dict[int, float]:
    given = {seed: results["samplers"][sampler]["accuracy"] for seed, results in runs.items()}
    return {seed: accuracy["mean"] for seed, accuracy in given.items() if accuracy}


def _cost(folder: Path, runs: dict[int, dict[str, Any]], name: str) -> int:
    """What training cost, summed over the steps of these seeds' runs."""
    files = [folder / f"seed-{seed}" / "run" / state.METRICS_FILE for seed in runs]
    return sum(record[name] for file in files for record in jsonl.read(file))


def _shown(mean: dict[str, Any] | None, sign: str = "") -> str:
    if mean is None:
        return "-"
    error = "" if mean["error"] is None else f" ± {100 * mean['error']:.1f}"
    return f"{100 * mean['mean']:{sign}.1f}{error}"
