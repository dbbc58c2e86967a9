from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl import journal
from strive_rl.benchmark_eval.finished import finished_results
from strive_rl.benchmark_eval.run import Means, evaluate_benchmark
from tests.strive_rl.benchmark_eval.made_benchmark import QUICK, make_benchmark


def test_what_is_finished_is_told_again_without_its_videos(tmp_path: Path, tiny_folder: Path) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=2, questions=1)
    out = tmp_path / "out"
    assert finished_results(out, task=task, settings=QUICK) is None
    results = evaluate_benchmark(out, task=task, settings=QUICK, means=Means(workers=1))
    shutil.rmtree(tmp_path / "root" / "videos")
    assert finished_results(out, task=task, settings=QUICK) == results
    with pytest.raises(UsageError, match=r"settings\.max_new_tokens: 4, now 5"):
        finished_results(out, task=task, settings=replace(QUICK, max_new_tokens=5))
    with pytest.raises(UsageError, match="bootstrap_resamples: 50, now 60"):
        finished_results(out, task=task, settings=replace(QUICK, bootstrap_resamples=60))
    shutil.copytree(out, tmp_path / "before")
    gained = finished_results(out, task=task, settings=QUICK, baseline=tmp_path / "before")
    assert gained is not None
    assert gained["baseline"]["uniform"]["overall"]["difference"]["mean"] == 0
    assert journal.read_json(out / "results.json") == gained
