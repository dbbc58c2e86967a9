from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.inspect.history import (
    arm_curve,
    default_span,
    differing,
    group_arms,
    read_histories,
    setting_differences,
    smoothed,
    sparse_curve,
)
from tests.strive_rl.inspect.made_runs import history, make_run

NAN = float("nan")


def test_a_run_that_is_still_going_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5, None, 0.7], last='{"step": 4, "rew', seed=1)
    (read,) = read_histories([run])
    assert (read.name, read.folder) == ("run", run.resolve())
    assert read.steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read.values["reward"], [0.5, np.nan, 0.7])
    assert read.values["seconds.total"].tolist() == [2.0] * 3
    assert read.settings["settings"] == {"seed": 1}


def test_a_metrics_file_without_settings(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5])
    (read,) = read_histories([run / "metrics.jsonl"])
    assert (read.name, dict(read.settings)) == ("run", {})


def test_the_last_record_of_a_step_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.1, 0.2, 0.3])
    jsonl.append(run / "metrics.jsonl", [{"step": 2, "reward": 0.9}])
    (read,) = read_histories([run])
    assert read.steps.tolist() == [1, 2, 3]
    assert read.values["reward"].tolist() == [0.1, 0.9, 0.3]


def test_a_curve_breaks_where_steps_are_missing(tmp_path: Path) -> None:
    """Regression: of a run whose metrics were cut, one line led over the steps that are lost."""
    for name, missing in (("cut", {4, 5, 6}), ("whole", set[int]())):
        run = make_run(tmp_path / name, [], seed=int(name == "cut"))
        kept = [step for step in range(1, 9) if step not in missing]
        for step in kept:
            heldout = {"heldout": {"accuracy": step / 10}} if step % 2 else {}
            jsonl.append(run / "metrics.jsonl", [{"step": step, "reward": step / 10, **heldout}])
    cut, whole = read_histories([tmp_path / "cut", tmp_path / "whole"])
    assert (cut.steps.tolist(), cut.gaps) == ([1, 2, 3, 4, 7, 8], {4})
    assert (len(whole.steps), whole.gaps) == (8, frozenset())
    (arm,) = group_arms([cut], group=False)
    curve, sparse = arm_curve(arm, "reward", 1), sparse_curve(arm, "heldout.accuracy")
    np.testing.assert_array_equal(curve.line, [0.1, 0.2, 0.3, NAN, 0.7, 0.8])
    np.testing.assert_array_equal([sparse.steps, sparse.line], [[1, 3, 4, 7], [0.1, 0.3, NAN, 0.7]])
    (both,) = group_arms([cut, whole], group=True)
    curve, sparse = arm_curve(both, "reward", 1), sparse_curve(both, "heldout.accuracy")
    np.testing.assert_allclose(curve.line, [0.1, 0.2, 0.3, NAN, 0.7, 0.8])
    np.testing.assert_allclose([sparse.steps, sparse.line], [[1, 3, 4, 7], [0.1, 0.3, NAN, 0.7]])


@pytest.mark.parametrize(
    ("steps", "gaps"),
    [
        ([10, 20, 30, 40], set()),
        ([1, 10, 20, 30, 33], set()),  # every tenth, the first and the last
        ([10, 20, 30, 31, 32, 33], set()),  # thinned up to a step
        ([10, 20, 30, 60, 70, 80], {31}),
        ([1, 2, 3, 10, 20, 21], {4, 11}),  # a value between two gaps
        ([1, 7], set()),
        ([5], set()),
    ],
)
def test_a_thinned_file_has_lines_that_break_at_gaps_alone(
    steps: list[int], gaps: set[int], tmp_path: Path
) -> None:
    jsonl.append(tmp_path / "metrics.jsonl", [{"step": step, "reward": 0.5} for step in steps])
    (run,) = read_histories([tmp_path])
    assert run.gaps == gaps


def test_settings_that_differ_are_shown_as_typed_and_unset_ones_by_a_dash() -> None:
    trees: list[dict[str, Any]] = [
        {"a": None, "b": {"c": True}, "d": 1},
        {"a": 0.2, "b": {"c": False}, "d": 1},
    ]
    assert differing(trees) == {"a": ["–", "0.2"], "b.c": ["true", "false"]}


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, [0.5]) for name in ("a/run", "b/run", "c/other")]
    assert [each.name for each in read_histories(runs)] == ["a/run", "b/run", "c/other"]
    assert [each.name for each in read_histories(runs[1:])] == ["run", "other"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]\n", "line 1: a list"),
        ('{"reward": 1}\n', "without a step"),
        ('{"step": "x"}\n', "without a step"),
        (f'{{"step": {10**400}}}\n', "without a step"),
        ("{]\n", r"metrics\.jsonl, line 1: not JSON"),
        ('{"st', "no step is finished"),
    ],
)
def test_a_file_that_holds_no_run_is_refused(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line)
    with pytest.raises(UsageError, match=says):
        read_histories([tmp_path])


def test_what_training_does_not_write_is_no_number_and_no_settings(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "reward": {10**400}, "kl": 0.5}}\n')
    (history,) = read_histories([tmp_path])
    assert [*history.values] == ["step", "kl"]
    (tmp_path / "settings.json").write_text('{"settings": [1]}')
    with pytest.raises(UsageError, match=r"settings\.json"):
        read_histories([tmp_path])


def test_a_missing_run_and_a_run_given_twice_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5])
    with pytest.raises(UsageError, match="given twice"):
        read_histories([run, run / "metrics.jsonl"])
    with pytest.raises(UsageError, match=r"metrics\.jsonl: no such file"):
        read_histories([tmp_path])


def test_the_average_by_hand() -> None:
    """Span 3: each step back weighs half as much."""
    average = smoothed(np.array([1.0, 4.0, 7.0]), 3)
    np.testing.assert_allclose(average, [1, (4 + 0.5) / 1.5, (7 + 2 + 0.25) / 1.75])
    assert smoothed(np.array([1.0, 4.0]), 1).tolist() == [1.0, 4.0]
    np.testing.assert_allclose(smoothed(np.full(9, 0.3), 5), 0.3)
    np.testing.assert_allclose(smoothed(np.array([2.0, NAN, 4.0]), 3), [2, NAN, (4 + 0.25 * 2) / 1.25])


def test_seeds_of_an_arm_are_runs_of_one_recipe() -> None:
    def run(name: str, **settings: Any) -> Any:
        return history(name, [0.5], settings={"lr": 1.0} | settings)

    runs = [run("strive-seed0", seed=0, steps=3), run("strive-seed12", seed=12, steps=9), run("b", lr=2.0)]
    grouped = group_arms(runs, group=True)
    assert [(arm.name, len(arm.runs)) for arm in grouped] == [("strive (2 seeds)", 2), ("b", 1)]
    assert [arm.name for arm in group_arms(runs, group=False)] == ["strive-seed0", "strive-seed12", "b"]
    unknown = [history("x", [0.5]), history("y", [0.5])]
    assert len(group_arms(unknown, group=True)) == 2
    nameless = group_arms([run("a", seed=1), run("b", seed=2)], group=True)
    assert [arm.name for arm in nameless] == ["a (2 seeds)"]


def test_a_curve_of_seeds_is_their_mean_at_common_steps_within_their_range() -> None:
    settings = {"lr": 1.0}
    runs = [history("a", [0.0, 0.2, 0.4], settings=settings), history("b", [0.6, NAN], settings=settings)]
    (arm,) = group_arms(runs, group=True)
    curve = arm_curve(arm, "reward", 1)
    assert curve.low is not None
    assert curve.high is not None
    assert curve.raw is None
    assert curve.steps.tolist() == [1, 2]
    np.testing.assert_allclose(curve.line, [0.3, NAN])
    np.testing.assert_allclose(curve.low, [0.0, NAN])
    np.testing.assert_allclose(curve.high, [0.6, NAN])


def test_a_curve_of_one_run_keeps_the_logged_values() -> None:
    (arm,) = group_arms([history("a", [0.0, 1.0])], group=False)
    curve = arm_curve(arm, "reward", 3)
    assert curve.raw.tolist() == [0.0, 1.0]
    assert curve.line.tolist() == pytest.approx([0.0, 2 / 3])
    assert arm_curve(arm, "absent", 3) is None
    assert arm_curve(group_arms([history("a", [NAN])], group=False)[0], "reward", 3) is None


def test_the_default_span_grows_with_the_longest_run() -> None:
    assert default_span([history("a", [0.0])]) == 1
    assert default_span([history("a", [0.0]), history("b", [0.0] * 1000)]) == 40


def test_settings_that_differ_are_listed_with_the_value_of_each_run() -> None:
    one = history("a", [0.0], settings={"optim": {"lr": 1.0, "schedule": "constant"}, "steps": 10})
    other = history("b", [0.5], settings={"optim": {"lr": 2.0, "schedule": "constant"}})
    assert setting_differences([one, other]) == {"optim.lr": ["1.0", "2.0"], "steps": ["10", "–"]}
    assert setting_differences([history("a", [0.1]), history("b", [0.2])]) == {}
