"""A study's file, read; and what is wrong in one, said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strive_data.common.settings import manifests_home
from strive_data.errors import SettingsError
from strive_rl.study.plan import read_study

STUDY = """
baseline = "grpo"
seeds = [3, 1]
[train]
steps = 5
data.questions_per_step = 2
optim.lr = 1e-4
[eval]
samplers = ["uniform"]
[arms.strive]
rollout.completions = 4
[arms.grpo]
data.variants = 1
rollout.completions = 8
"""


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return written


def test_arms_stand_over_what_all_share_the_baseline_first(write: Write) -> None:
    study = read_study(write(STUDY))
    assert [arm.name for arm in study.arms] == ["grpo", "strive"]
    grpo, strive = (arm.settings for arm in study.arms)
    assert (grpo.data.variants, grpo.rollout.completions) == (1, 8)
    assert (strive.data.variants, strive.rollout.completions) == (2, 4)
    assert all(each.data.questions_per_step == 2 and each.optim.lr == 1e-4 for each in (grpo, strive))
    assert study.seeds == (3, 1)
    assert study.evaluation.samplers == ("uniform",)
    less = read_study(write(STUDY), seeds=1, steps=2)
    assert less.seeds == (3,)
    assert {arm.settings.steps for arm in less.arms} == {2}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('baseline = "grpo"', 'baseline = "grop"', "did you mean 'grpo'"),
        ("seeds = [3, 1]", "seeds = [3, 3]", "a list of different whole numbers"),
        ("seeds = [3, 1]", "seeds = []", "a list of different whole numbers"),
        ("seeds = [3, 1]", "sedes = [3, 1]", "did you mean 'seeds'"),
        ("data.variants = 1", "data.varants = 1", "arm grpo: unknown setting 'data.varants'"),
        ("data.variants = 1", "seed = 1", "arm grpo: the seeds of a study are in `seeds`"),
        ("[arms.grpo]", '[arms."../grpo"]', r"arm '\.\./grpo': expected letters"),
        ("[arms.strive]", "[arms.strive", "is not TOML"),
        ("[train]", "points = [0.5]\n[train]", "the last of them 1"),
        ("[train]", "points = [0.5, 1]\n[train]", "5 steps .* points 0.5, 1; .* multiple of 2"),
    ],
)
def test_what_is_wrong_is_said(write: Write, before: str, after: str, says: str) -> None:
    text = STUDY.replace(before, after)
    if "/" in after:
        text = text.replace('baseline = "grpo"', 'baseline = "../grpo"')
    with pytest.raises(SettingsError, match=says):
        read_study(write(text))


@pytest.mark.parametrize("seeds", [-1, 0, 3])
def test_seeds_that_the_study_has_not_are_refused(write: Write, seeds: int) -> None:
    with pytest.raises(SettingsError, match=f"--seeds: got {seeds}, expected 1 to 2"):
        read_study(write(STUDY), seeds=seeds)


def test_points_are_saved_by_every_run(write: Write) -> None:
    study = read_study(write(STUDY.replace("[train]", "points = [0.25, 0.5, 1]\n[train]")), steps=12)
    assert study.points == (0.25, 0.5, 1.0)
    for arm in study.arms:
        assert study.steps(arm) == (3, 6, 12)
        assert (arm.settings.save_every, arm.settings.keep) == (3, 0)


def test_no_file() -> None:
    with pytest.raises(SettingsError, match="study absent"):
        read_study(Path("absent"))


def test_the_published_studies_can_be_read() -> None:
    paths = sorted((manifests_home() / "studies").glob("*.toml"))
    assert paths
    for path in paths:
        rollouts = {
            arm.settings.data.variants * arm.settings.rollout.completions for arm in read_study(path).arms
        }
        assert len(rollouts) == 1, f"{path}: arms of unequal price"
