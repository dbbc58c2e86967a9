"""Every settings file of manifests/runs loads, fits shards of its build, and can be planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.common.settings import load, manifests_home, settings_file
from strive_data.errors import SettingsError
from strive_rl.config import TrainSettings
from strive_rl.dry_run.plan import plan_text
from tests.strive_rl.dry_run.planned_runs import build_named, build_of, planned, settings_of

RUNS = sorted(path.stem for path in (manifests_home() / "runs").glob("*.toml"))


def test_the_recipes_are_these() -> None:
    assert RUNS == [
        "dr-grpo-qwen2.5-vl-7b",
        "grpo-qwen2.5-vl-7b",
        "strive-lora-qwen2.5-vl-7b",
        "strive-qwen2.5-vl-7b",
        "strive-qwen3-vl-8b",
    ]


@pytest.mark.parametrize("name", RUNS)
def test_what_the_paper_states(name: str) -> None:
    """32 frames and 1,000 steps; M=2, G=4 normalised jointly, or as many rollouts of one set of frames."""
    settings, build = settings_of(name), build_of(name)
    shape = (settings.data.variants, settings.rollout.completions)
    assert shape == ((1, 8) if name.startswith("grpo") else (2, 4))
    assert (settings.steps, settings.algorithm.normalise) == (1000, "joint")
    assert (build.sampler.frames, build.shard.frames, build.shard.embeds) == (32, "all", True)
    assert settings.policy.max_pixels == build.decode.max_pixels
    assert build.decode.max_pixels % build.decode.multiple**2 == 0


@pytest.mark.parametrize("name", RUNS)
def test_every_recipe_can_be_planned_and_the_plan_is_a_settings_file(name: str, tmp_path: Path) -> None:
    made = planned(tmp_path, name)
    text = plan_text(made)
    assert made.need.prompt_tokens <= made.settings.policy.max_prompt_tokens
    assert "epochs" in text
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    assert load(TrainSettings, config=tmp_path / "plan.toml") == made.settings


def test_a_run_differs_from_its_baseline_by_the_method_alone() -> None:
    strive, grpo = settings_of("strive-qwen2.5-vl-7b"), settings_of("grpo-qwen2.5-vl-7b")
    same = replace(
        grpo,
        data=replace(grpo.data, variants=2, sampler=None),
        rollout=replace(grpo.rollout, completions=4),
        policy=replace(grpo.policy, groups_per_pass=1),
    )
    assert same == strive
    dr_grpo = settings_of("dr-grpo-qwen2.5-vl-7b")
    assert replace(dr_grpo, algorithm=strive.algorithm) == strive
    assert (dr_grpo.algorithm.by_std, dr_grpo.algorithm.loss_constant_tokens) == (False, 768)


@pytest.mark.slow
def test_they_fit_the_devices_that_they_name(tmp_path: Path) -> None:
    """With a tenth of 80 GB to spare; full weights not on one device, and not with a copy on eight."""
    room = 0.9 * 80e9
    assert planned(tmp_path, "strive-lora-qwen2.5-vl-7b").need.peak_bytes < room
    for name in ("strive-qwen2.5-vl-7b", "grpo-qwen2.5-vl-7b", "dr-grpo-qwen2.5-vl-7b", "strive-qwen3-vl-8b"):
        assert planned(tmp_path, name, processes=8).need.peak_bytes < room, name
    assert planned(tmp_path, "strive-qwen2.5-vl-7b").need.peak_bytes > 80e9


def test_the_builds_differ_by_the_size_of_a_token_alone() -> None:
    older, newer = build_named("qwen2.5-vl"), build_named("qwen3-vl")
    assert (older.decode.multiple, newer.decode.multiple) == (28, 32)
    assert replace(newer, decode=older.decode) == older


def test_a_name_near_to_one_is_suggested() -> None:
    with pytest.raises(SettingsError, match=r"did you mean 'strive-qwen2\.5-vl-7b'"):
        settings_file(Path("strive-qwen2.5-7b"), "runs")
