"""Recipes are refused with the way out, found in a wheel's layout too, and chosen by columns."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from strive_data.annotations import recipes
from strive_data.annotations.recipes import (
    Fields,
    Recipe,
    TypeRule,
    find_recipe,
    names_read,
    packaged,
    recipe_that_fits,
)
from strive_data.errors import SettingsError, UsageError

ROOT = Path(__file__).parents[3]
NAMES = {
    "activitynet-captions", "charades-sta", "conversations", "easyr1", "egoschema",
    "longvideobench", "lvbench", "messages", "mlvu", "mmvu", "mvbench", "next-gqa", "next-qa",
    "open-o3", "perceptiontest", "perceptiontest-files", "plain", "plain-id", "qvhighlights",
    "tempcompass", "temporal-grounding", "timelens", "timelens-100k", "tinyllava-video-r1", "verl",
    "video-holmes", "video-r1", "video-r1-evaluation", "videochat2", "videokr", "videomme",
    "videommmu", "videommmu-files", "vsibench",
}  # fmt: skip
GOOD = """
title = "Mine"
[fields]
id = "{a}-{b.c}"
video = "v"
question = "q"
answer = "{a}"
[problem_type]
otherwise = "free-form"
"""


def test_all_packaged_recipes_are_valid_and_say_where_they_come_from():
    assert packaged().keys() == NAMES
    for name in NAMES:
        recipe = find_recipe(name)
        # By name only: files of video-r1's layout, and tables whose columns anyone's may have.
        assert bool(recipe.columns) == (name not in ("video-r1-evaluation", "mvbench", "mlvu"))
        assert name.startswith("plain") or (recipe.project.startswith("https://") and recipe.licence)
    assert "PerceptionTest's training videos" in find_recipe("video-r1").note


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert find_recipe(str(path)) == Recipe(
        title="Mine",
        fields=Fields(id="{a}-{b.c}", video="v", question="q", answer="{a}"),
        problem_type=TypeRule(otherwise="free-form"),
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Mine"', "", "setting 'title' is missing"),
        ('answer = "{a}"', "", "setting 'fields.answer' is missing"),
        ('answer = "{a}"', 'answer = ""', "fields.answer is empty"),
        ('answer = "{a}"', 'anser = "a"', "did you mean 'answer'"),
        ('answer = "{a}"', 'answer = "{a"', "answer = '{a': expected"),
        ('answer = "{a}"', 'answer = "a{}"', "expected a field's name"),
        ('answer = "{a}"', 'answer = "{@line}"', "expected a field's name"),
        ('answer = "{a}"', "answer = 5", "expected str"),
        ('"free-form"', '"riddle"', "'problem_type.otherwise': got 'riddle'"),
        ('otherwise = "free-form"', "", "set field, otherwise, or both"),
        ('title = "Mine"', 'title = "Mine"\nrows = "a//{b}"', "rows = 'a//{b}': expected"),
        ('title = "Mine"', 'title = "Mine"\ncolumns = "a"', "expected a list"),
        ('title = "Mine"', "title = ", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(tmp_path, old, new, says):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        find_recipe(str(path))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_names_read():
    assert names_read(find_recipe("mmvu")) == {
        *("id", "video", "question", "answer", "choices", "metadata", "metadata.subject", "question_type")
    }
    assert names_read(find_recipe("tempcompass")) == {"video_id", "dimension", "question", "answer"}


def test_unknown_recipes():
    with pytest.raises(SettingsError, match="did you mean 'videomme'"):
        find_recipe("video-mme")
    with pytest.raises(SettingsError, match="No such file"):
        find_recipe("none.toml")


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"video", "question", "answer"}, "plain"),
        ({"video", "question", "answer", "options", "colour"}, "plain"),
        ({"id", "video", "question", "answer"}, "plain-id"),
        ({"id", "video", "question", "answer", "question_type", "choices", "metadata"}, "mmvu"),
        ({"problem_id", "path", "problem", "video", "question", "answer"}, "video-r1"),
        ({"problem_id", "problem", "answer", "videos", "images", "options", "problem_type"}, "easyr1"),
        ({"video", "question", "answer", "conversations"}, "plain"),
        ({"video_name", "question", "question_id", "options", "answer_id", "area"}, "perceptiontest"),
        ({"id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth"}, "vsibench"),
        ({"id", "question", "options", "answer", "question_type"}, "videommmu"),
        ({"video", "question"}, ""),
        (set(), ""),
    ],
)
def test_the_columns_choose_the_recipe(columns, name):
    assert recipe_that_fits(columns, NAMES - {"tempcompass", "perceptiontest-files"}) == name


def test_a_tie_is_not_decided_by_chance(monkeypatch):
    one = Recipe(
        title="x",
        columns=("a",),
        fields=Fields(id="a", video="a", question="a", answer="a"),
        problem_type=TypeRule(field="a"),
    )
    monkeypatch.setattr(recipes, "packaged_recipes", lambda: {"one": one, "two": one})
    with pytest.raises(UsageError, match="one, two fit equally well: choose by --recipe"):
        recipe_that_fits({"a", "b"}, ["one", "two"])


def test_recipes_are_found_where_a_wheel_puts_them(tmp_path):
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    shutil.copytree(
        ROOT / "strive_data", tmp_path / "strive_data", ignore=shutil.ignore_patterns("demo_clip")
    )
    for source, target in wheel["force-include"].items():
        shutil.copytree(ROOT / source, tmp_path / target)
    code = "from strive_data.annotations import recipes; print(recipes.__file__, *recipes.packaged_recipes())"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert Path(printed[0]).is_relative_to(tmp_path)
    assert set(printed[1:]) == NAMES
