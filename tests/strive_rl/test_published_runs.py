"""Every settings file of manifests/runs loads, fits shards of its build, and can be planned."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.config import BuildSettings
from strive_data.errors import SettingsError
from strive_data.published import manifests_home, settings_file
from strive_data.settings import as_toml, load
from strive_rl.config import TrainSettings
from strive_rl.dry_run import GIB, Plan, plan, plan_text
from tests.strive_rl.made_shards import SETTINGS, make_shards
from tests.strive_rl.published_models import qwen2_5_vl_7b, qwen3_vl_8b, save_config

RUNS = sorted(path.stem for path in (manifests_home() / "runs").glob("*.toml"))
BUILDS = {"qwen2.5-vl": "qwen2.5-vl-7b", "qwen3-vl": "qwen3-vl-8b"}


def settings_of(name: str) -> TrainSettings:
    return load(TrainSettings, config=settings_file(Path(name), "runs"))


def build_of(run: str) -> BuildSettings:
    (build,) = (build for build, model in BUILDS.items() if run.endswith(model))
    return load(BuildSettings, config=settings_file(Path(build), "builds"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("published")
    return {
        "qwen2.5-vl-7b": save_config(qwen2_5_vl_7b(), home / "qwen2.5"),
        "qwen3-vl-8b": save_config(qwen3_vl_8b(), home / "qwen3"),
    }


@pytest.fixture(scope="module")
def planned(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    def make(run: str, processes: int = 1) -> Plan:
        wanted = build_of(run)
        # Samples of four small frames that say they were built so: no frame is read for a plan.
        small = replace(wanted, sampler=replace(SETTINGS.sampler), shard=SETTINGS.shard)
        shards = make_shards(tmp_path_factory.mktemp("planned") / "shards", settings=small)
        model = next(path for name, path in models.items() if run.endswith(name))
        made = plan([shards], model=str(model), settings=settings_of(run), processes=processes)
        return replace(made, frames=wanted.sampler.frames)

    return make


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
def test_every_recipe_can_be_planned_and_the_plan_is_a_settings_file(
    name: str, planned: Callable[..., Plan], tmp_path: Path
) -> None:
    made = planned(name)
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


def test_they_fit_the_devices_that_they_name(planned: Callable[..., Plan]) -> None:
    """With a tenth of 80 GB to spare; full weights not on one device, and not with a copy on eight."""
    room = 0.9 * 80e9
    assert planned("strive-lora-qwen2.5-vl-7b").need.peak_bytes < room
    for name in ("strive-qwen2.5-vl-7b", "grpo-qwen2.5-vl-7b", "dr-grpo-qwen2.5-vl-7b", "strive-qwen3-vl-8b"):
        assert planned(name, processes=8).need.peak_bytes < room, name
    assert planned("strive-qwen2.5-vl-7b").need.peak_bytes > 80e9


def test_the_builds_differ_by_the_size_of_a_token_alone() -> None:
    older, newer = (load(BuildSettings, config=settings_file(Path(name), "builds")) for name in BUILDS)
    assert (older.decode.multiple, newer.decode.multiple) == (28, 32)
    assert replace(newer, decode=older.decode) == older


def test_a_name_near_to_one_is_suggested() -> None:
    with pytest.raises(SettingsError, match=r"did you mean 'strive-qwen2\.5-vl-7b'"):
        settings_file(Path("strive-qwen2.5-7b"), "runs")


def test_numbers_of_a_plan_by_hand(planned: Callable[..., Plan]) -> None:
    """16 patches of 128 tokens and 200 of text; 16 questions under two variants, four answers each."""
    made = planned("strive-qwen2.5-vl-7b", processes=8)
    lines = [line.removeprefix("# ") for line in plan_text(made).splitlines() if line.startswith("#")]
    text = "\n".join(lines)
    assert "8.29 billion weights, 7.62 billion trained" in text
    assert "1,000 steps of 16 questions: 16,000 questions, 2.67e+03 epochs" in text
    assert re.search(r"prompt +2,248 tokens at most: 2,048 of 32 frames", text)
    assert re.search(r"each step +32 prompts read: 71,936 tokens at most", text)
    assert "128 rollouts: 98,304 tokens at most (768 each)" in text
    assert "1 update, each response under its own variant: prompts and responses read 1× more" in text
    assert "memory of each of 8 processes" in text
    total = next(line for line in lines if line.startswith("together")).split()[1:]
    expected = [made.need.sampling_bytes, made.need.update_bytes]
    assert [float(each) for each in total] == [round(size / GIB, 1) for size in expected]
    assert "if that is too much, the largest parts first:" in lines


def test_what_would_drop_every_question_is_said_before(planned: Callable[..., Plan]) -> None:
    made = planned("strive-qwen3-vl-8b")
    short = replace(made.settings, policy=replace(made.settings.policy, max_prompt_tokens=1000))
    assert "are longer than policy.max_prompt_tokens, 1,000" in plan_text(replace(made, settings=short))
    assert "longer than" not in plan_text(made)


def test_the_type_of_weights_is_that_of_the_device_named(planned: Callable[..., Plan]) -> None:
    made = planned("strive-qwen3-vl-8b")
    assert made.bytes_a_weight == 2
    cpu = replace(made.settings, policy=replace(made.settings.policy, device="cpu"))
    assert replace(made, settings=cpu).bytes_a_weight == 4
    assert as_toml(cpu).count('device = "cpu"') == 1
