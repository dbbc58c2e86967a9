"""A study of two arms of two steps: what it writes, that it goes on, and is not mixed with another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
import torch

from strive_data.errors import StriveError, UsageError
from strive_rl.common import jsonl
from strive_rl.common.progress import Line
from strive_rl.config import DataSettings, OptimSettings, PolicySettings, RolloutSettings, TrainSettings
from strive_rl.eval.config import EvalSettings
from strive_rl.study import run
from strive_rl.study.page import write_page
from strive_rl.study.plan import Arm, Study
from strive_rl.study.results import _label, label_of, study_table
from strive_rl.study.run import run_study
from tests.strive_rl.made.shards import make_shards

POLICY = PolicySettings(device="cpu")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a study is given besides its models."""
    folder = tmp_path_factory.mktemp("study")
    builds = {"shards": make_shards(folder / "train"), "heldout": make_shards(folder / "heldout", samples=3)}
    return builds | {"observe": print}


def arm(name: str, variants: int, completions: int) -> Arm:
    settings = TrainSettings(
        data=DataSettings(questions_per_step=2, variants=variants),
        policy=POLICY,
        rollout=RolloutSettings(completions=completions, max_new_tokens=2, temperature=4.0),
        optim=OptimSettings(lr=1e-3),
        steps=2,
    )
    return Arm(name=name, settings=settings)


def study(*seeds: int) -> Study:
    evaluation = EvalSettings(policy=POLICY, max_new_tokens=2, samplers=("uniform",), bootstrap_resamples=10)
    return Study(arms=(arm("grpo", 1, 4), arm("strive", 2, 2)), seeds=seeds, evaluation=evaluation)


def test_while_runs_are_in_workers_a_line_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: until the first of them ended there was one fixed line."""
    start, first, second = run.study_jobs(study(0), tmp_path, ["m"])
    folder = first.folder / "run"
    folder.mkdir(parents=True)
    said, seen = [], threading.Event()

    class FakeLine(Line):
        def show_phase(self, text: str, *, always: bool = False) -> None:
            said.append(text)
            jsonl.append(folder / "metrics.jsonl", [{"step": len(said)}])
            if len(said) == 2:
                (folder / "model").mkdir()
            if len(said) == 3:
                seen.set()

    monkeypatch.setattr(run, "Line", FakeLine)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.01)
    with ThreadPoolExecutor(3) as pool:
        running = {pool.submit(lambda: seen.wait(20)): job for job in (start, first, second)}
        ended = [running[each] for each in run._as_completed(running, 2)]
    assert sorted(job.name for job in ended) == sorted(job.name for job in (start, first, second))
    assert said[:3] == [
        f"start, model m: evaluating; grpo, seed 0: {at}" for at in ("step 0/2", "step 1/2", "evaluating")
    ]


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_and_takes_more_seeds(
    tmp_path: Path, given: dict[str, Any], tiny_folder: Path
) -> None:
    out, said = tmp_path / "out", []
    given = given | {"models": [str(tiny_folder)], "observe": said.append}
    first = run_study(study(0), out, **given)
    assert said == [f"start, model {tiny_folder}", "grpo, seed 0", "strive, seed 0"]
    assert [point["share"] for point in first["points"]] == [0.0]
    # Two steps of two questions of four answers; a prompt a variant.
    assert first["costs"] == {
        "grpo": {"prompts": 4, "rollouts": 16},
        "strive": {"prompts": 8, "rollouts": 16},
    }
    lone = first["samplers"]["uniform"][1]
    assert (lone["arm"], lone["gain"]["count"], lone["gain"]["error"]) == ("strive", 1, None)

    said.clear()
    (out / "strive" / "seed-0" / "eval" / "results.json").unlink()
    more = run_study(study(0, 5), out, **given)
    assert said == ["strive, seed 0", "grpo, seed 5", "strive, seed 5"]
    assert len(jsonl.read(out / "strive" / "seed-0" / "run" / "metrics.jsonl")) == 2
    assert more == jsonl.read_json(out / "study.json")
    accuracy = [each["accuracy"]["count"] for each in more["samplers"]["uniform"]]
    assert accuracy == [2, 2]
    said.clear()
    assert run_study(study(0, 5), out, **given) == more
    assert said == []
    header, baseline, strive = study_table(more).splitlines()
    columns = "uniform frames accuracy gain 95 % interval p seeds prompts rollouts seconds"
    assert header.split() == columns.split()
    assert baseline.split()[0] == "grpo"
    assert " - " in baseline
    assert strive.split()[-4:-1] == ["2", "16", "32"]


def test_several_processes_are_refused(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="without torchrun"):
        run_study(study(0), tmp_path, models=["demo"], **given)


def test_another_study_and_a_folder_of_something_else_are_refused(
    tmp_path: Path, given: dict[str, Any], tiny_folder: Path
) -> None:
    out = tmp_path / "out"
    run_study(study(), out, models=[str(tiny_folder)], **given)
    run_study(study(), out, models=["demo"], **given)  # no step was done: it may start again
    run_study(study(), out, models=[str(tiny_folder)], **given)
    steps = out / "arm" / "seed-0" / "run" / "metrics.jsonl"
    steps.parent.mkdir(parents=True)
    steps.write_text("")
    with pytest.raises(UsageError, match=r"another study \(models differ\)"):
        run_study(study(), out, models=["demo"], **given)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty and holds no study"):
        run_study(study(), tmp_path / "full", models=["demo"], **given)


def test_a_seed_in_front_would_give_the_others_another_warm_start(
    tmp_path: Path, given: dict[str, Any], tiny_folder: Path
) -> None:
    """Regression: a run that was finished kept its model, and arms of one seed started from two."""
    models, ran = [str(tiny_folder), "demo"], tmp_path / "grpo" / "seed-5" / "run"
    run._claim(study(3, 5), tmp_path, given["shards"], given["heldout"], models)
    (ran / "model").mkdir(parents=True)
    jsonl.write_json(ran / "settings.json", {"model": "demo"})
    for seeds in ((3, 5), (3, 5, 1), (4, 5)):
        run._require_models(run.study_jobs(study(*seeds), tmp_path, models), models)
    with pytest.raises(UsageError, match=r"grpo, seed 5 started from demo.*add seeds behind"):
        run_study(study(1, 3, 5), tmp_path, models=models, **given)


def test_a_worker_that_dies_is_said_in_words_and_a_study_that_is_stopped_ends_its_own(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class DyingPool(ThreadPoolExecutor):
        def __init__(self, workers: int, **_: object) -> None:
            super().__init__(workers)

        def submit(self, *_: object) -> Future[Any]:  # type: ignore[override]
            return super().submit(self.die)

        def die(self) -> None:
            raise BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(run, "ProcessPoolExecutor", DyingPool)
    with pytest.raises(StriveError, match=r"died: .*same command again .*fewer --workers"):
        run_study(study(0), tmp_path / "out", models=["demo"], workers=2, **given)

    ended: list[str] = []

    def interrupted(*_: object) -> Iterator[Future[None]]:
        raise KeyboardInterrupt

    worker = Mock(terminate=lambda: ended.append("a worker"))
    monkeypatch.setattr(run, "_as_completed", interrupted)
    monkeypatch.setattr(run, "active_children", lambda: [worker])
    with pytest.raises(KeyboardInterrupt):  # SIGINT to the study alone: without a word they would train on
        run_study(study(0), tmp_path / "stopped", models=["demo"], workers=2, **given)
    assert ended == ["a worker"]


def test_a_study_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # A file: a spawned process cannot import the main module of `-c`.
    script.write_text(
        "import os, signal, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from strive_rl.study.run import _end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    context = get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 60)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    worker = int(killed.stdout)
    deadline = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(number: int) -> bool:
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_two_runs_of_a_study_agree_exactly_in_workers_or_here(
    tmp_path: Path, given: dict[str, Any], tiny_folder: Path
) -> None:
    """With points: warm starts and halves are evaluated too, checkpoints go, and the page shows it all."""
    halves = replace(study(0), points=(0.5, 1.0))
    saved = [replace(a, settings=replace(a.settings, save_every=1, keep=0)) for a in halves.arms]
    halves = replace(halves, arms=tuple(saved))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has
    found = [
        run_study(halves, tmp_path / str(workers), models=[str(tiny_folder)], workers=workers, **given)
        for workers in (1, 2)
    ]
    torch.set_num_threads(threads)
    for results in found:
        assert results.pop("seconds").keys() == {"grpo", "strive"}  # a tiny run may round to 0.0
    assert found[0] == found[1]
    assert [point["share"] for point in found[0]["points"]] == [0.0, 0.5]
    assert found[0]["runs"].keys() == {"grpo", "strive"}
    assert found[0]["samplers"]["uniform"][1]["gain"]["count"] == 1
    assert 0 <= found[0]["groups"]["strive"]["zero_advantage_share"]["mean"] <= 1
    assert not list(tmp_path.glob("*/*/seed-*/run/checkpoint-*"))
    assert (tmp_path / "2" / "strive" / "seed-0" / "eval-1" / "results.json").is_file()
    write_page(found[0] | {"seconds": {"grpo": 1.0, "strive": 1.0}}, tmp_path / "p.html", title="Study")
    page = (tmp_path / "p.html").read_text()
    assert page.count("<svg") == 2
    assert "data.variants" in page
    assert "<th>zero advantage</th>" in page


def test_a_vote_and_its_control_are_columns_with_labels() -> None:
    voting = EvalSettings(samplers=("importance",), variants=4, vote=True, controls=("single",))
    assert [_label(each, voting) for each in voting.columns] == [
        "importance frames, vote over 4 variants",
        "importance frames, one view",
    ]
    several = EvalSettings(samplers=("uniform",), variants=2)
    assert [_label(each, several) for each in several.columns] == ["uniform frames, mean of 2 variants"]
    assert label_of({}, "uniform") == "uniform frames"
