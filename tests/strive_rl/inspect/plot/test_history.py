"""Runs as they lie on a disk: whole, going on, cut, without settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.inspect.plot.history import read_histories
from tests.strive_rl.inspect.plot.made_runs import make_run


def test_a_run_that_still_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5, None, 0.7], last='{"step": 4, "rew', seed=1)
    (made,) = read_histories([run])
    assert (made.name, made.folder) == ("run", run.resolve())
    assert made.steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(made.values["reward"], [0.5, np.nan, 0.7])
    assert made.values["seconds.total"].tolist() == [2.0] * 3
    assert made.settings["settings"] == {"seed": 1}


def test_the_metrics_file_itself_and_no_settings(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5])
    (made,) = read_histories([run / "metrics.jsonl"])
    assert (made.name, dict(made.settings)) == ("run", {})


def test_a_step_that_was_written_twice_counts_as_it_was_last(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.1, 0.2, 0.3])
    jsonl.append(run / "metrics.jsonl", [{"step": 2, "reward": 0.9}])
    (made,) = read_histories([run])
    assert made.steps.tolist() == [1, 2, 3]
    assert made.values["reward"].tolist() == [0.1, 0.9, 0.3]


def test_names_are_told_apart_by_as_little_as_does(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, [0.5]) for name in ("a/run", "b/run", "c/other")]
    assert [each.name for each in read_histories(runs)] == ["a/run", "b/run", "c/other"]
    assert [each.name for each in read_histories(runs[1:])] == ["run", "other"]


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5])
    with pytest.raises(UsageError, match="is given twice"):
        read_histories([run, run / "metrics.jsonl"])
    with pytest.raises(UsageError, match="no such file; expected the folder of a run"):
        read_histories([tmp_path])
    with pytest.raises(UsageError, match="no step is finished yet"):
        read_histories([make_run(tmp_path / "empty", [], last='{"st')])
    for line in ("[1]", '{"reward": 1}', '{"step": "x"}'):
        (tmp_path / "wrong.jsonl").write_text(line + "\n")
        with pytest.raises(UsageError, match="a line without a step"):
            read_histories([tmp_path / "wrong.jsonl"])
    (tmp_path / "wrong.jsonl").write_text("{]\n")
    with pytest.raises(UsageError, match=r"wrong\.jsonl, line 1: not JSON"):
        read_histories([tmp_path / "wrong.jsonl"])
