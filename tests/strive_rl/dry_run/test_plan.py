"""What is said of a run before it begins, by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strive_data.common.settings import load, manifests_home, settings_file
from strive_data.config import BuildSettings
from strive_data.errors import SettingsError, UsageError
from strive_rl.config import AlgorithmSettings, DataSettings, TrainSettings, ValidationSettings
from strive_rl.dry_run.plan import GIB, GPUS, Plan, changes, fitting, plan, plan_text
from tests.strive_rl.made.shards import SAMPLED, SETTINGS, make_shards


def with_policy(made: Plan, **changes: Any) -> Plan:
    return replace(made, settings=replace(made.settings, policy=replace(made.settings.policy, **changes)))


def test_numbers_of_a_plan_by_hand(tmp_path: Path) -> None:
    """16 patches of 128 tokens and 200 of text; 16 questions under two variants, four completions each."""
    made = planned(tmp_path, "strive-qwen2.5-vl-7b", processes=8)
    lines = [line.removeprefix("# ") for line in plan_text(made).splitlines() if line.startswith("#")]
    text = "\n".join(lines)
    assert "8.29 billion weights, 7.62 billion trained" in text
    assert "1,000 steps of 16 questions: 16,000 questions, 2,666.67 epochs" in text
    assert re.search(r"prompt +2,248 tokens at most: 2,048 of 32 frames", text)
    assert re.search(r"each step +32 prompts read: 71,936 tokens at most", text)
    assert "128 rollouts: 98,304 tokens at most (768 each)" in text
    assert "1 update, each completion read 1 time after sampling" in text
    assert "memory of each of 8 processes" in text
    total = next(line for line in lines if line.startswith("together")).split()[1:]
    expected = [made.need.sampling_bytes, made.need.update_bytes]
    assert [float(each) for each in total] == [round(size / GIB, 1) for size in expected]
    assert "warning: 2,667 epochs: the policy learns 6 questions by heart. Set steps=7 for 20 epochs" in text
    assert "warning" not in plan_text(replace(made, questions=16_000))


def test_what_a_policy_changes_is_said(tmp_path: Path) -> None:
    """A limit that would drop every question; the tower; the type of weights on the device named."""
    made = planned(tmp_path, "strive-qwen3-vl-8b")
    plain = plan_text(made)
    for changed, says in (
        ({"max_prompt_tokens": 1000}, "are longer than policy.max_prompt_tokens, 1,000"),
        ({"train_vision": True}, "the vision tower"),
    ):
        assert says in plan_text(with_policy(made, **changed))
        assert says not in plain
    assert made.bytes_a_weight == 2
    assert with_policy(made, device="cpu").bytes_a_weight == 4
    assert with_policy(made, dtype="float32").bytes_a_weight == 4
    assert with_policy(made, device="cpu", dtype="bfloat16").bytes_a_weight == 2


def test_what_a_run_could_not_do_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    """Shards that hold only the sampled frames have no neighbours, and give no other variants."""
    shards, model = make_shards(tmp_path / "shards", settings=SAMPLED), str(tiny_folder)
    settings = settings_of("strive-qwen2.5-vl-7b")
    assert plan([shards], model=model, settings=settings).questions == 6
    several = replace(settings, data=DataSettings(variants=3))
    with pytest.raises(UsageError, match="variants"):
        plan([shards], model=model, settings=several)
    with pytest.raises(UsageError, match="absent: no such folder"):
        plan([shards], model=str(tmp_path / "absent"), settings=settings)


def test_what_a_step_reads_again_is_counted(tmp_path: Path) -> None:
    made = planned(tmp_path, "strive-qwen2.5-vl-7b")

    def said(**algorithm: Any) -> str:
        settings = replace(made.settings, algorithm=AlgorithmSettings(**algorithm))
        return plan_text(replace(made, settings=settings))

    assert "read 2 times after sampling" in said(kl_beta=0.1)
    several = said(epochs_per_rollout=2, minibatches=2)
    assert "4 updates, each completion read 3 times after sampling" in several
    assert "read 2 times after sampling" in said(epochs_per_rollout=2, old_logprobs="rollout")
    assert "reference" in said(kl_beta=0.1)


def test_what_validation_and_dynamic_sampling_cost_is_counted(tmp_path: Path) -> None:
    """Of 6 questions 3 are asked, after steps 105, 210, …, 945 and 1000: 30 prompts beside 32,000."""
    made = planned(tmp_path, "strive-qwen2.5-vl-7b")
    assert "# validation " not in plan_text(made)
    validated = replace(made.settings, validation=ValidationSettings(every=105, questions=3, patience=2))
    validated = replace(validated, rollout=replace(validated.rollout, dynamic_sampling_rounds=2))
    heldout = make_shards(tmp_path / "held")
    text = plan_text(plan([heldout], model=made.model, settings=validated, heldout=heldout))
    assert (
        f"{tmp_path / 'held'}: 3 questions, 10 times (every 105 steps and after the last; fewer by " in text
    )
    assert "each time 3 prompts read, 3 completions: in all 30, 0.094 % of the steps' prompts" in text
    assert "prompts and 0.023 % of their rollouts" in text
    assert "up to 3 times as many prompts and rollouts by dynamic sampling" in text


@pytest.mark.parametrize("processes", [1, 8])
def test_changes_are_planned_and_those_already_made_are_not_offered(tmp_path: Path, processes: int) -> None:
    made = planned(tmp_path, "strive-qwen2.5-vl-7b", processes=processes)
    plain = with_policy(made, gradient_checkpointing=False, groups_per_pass=16)
    offered = dict(changes(plain))
    assert {"policy.gradient_checkpointing=true", "policy.groups_per_pass=1", "policy.lora_rank=64"} <= set(
        offered
    )
    for text, other in offered.items():
        assert other.need.peak_bytes <= plain.need.peak_bytes, text
        assert text not in dict(changes(other)), text
    less = offered["policy.gradient_checkpointing=true"].need
    (line,) = (line for line in plan_text(plain).splitlines() if "policy.gradient_checkpointing=true" in line)
    assert f"{less.peak_bytes / GIB:.1f} GiB" in line
    # Together only where that needs less than the best alone: here not on 8 processes (31.0 GiB, not 30.4).
    assert ("all of policy.* together" in plan_text(plain)) == (processes == 1)
    done = with_policy(made, gradient_checkpointing=True, groups_per_pass=1, lora_rank=64, prompts_per_pass=1)
    assert not {"policy.gradient_checkpointing", "policy.groups_per_pass", "policy.lora_rank"} & {
        text.split("=")[0] for text, _ in changes(done)
    }


def test_devices_that_fit_have_a_tenth_to_spare(tmp_path: Path) -> None:
    made = planned(tmp_path, "strive-lora-qwen2.5-vl-7b")
    room = {name: 0.9 * size * GIB for name, size in GPUS.items()}
    assert fitting(made) == [name for name, size in room.items() if made.need.peak_bytes <= size]
    assert 0 < len(fitting(made)) < len(GPUS)
    assert f"fits: {', '.join(fitting(made))}; too small: RTX 4090 24 GB" in plan_text(made)
    assert "fits" not in plan_text(with_policy(made, device="cpu"))


def test_vllm_takes_its_share_beside_and_no_gpu_is_said_to_fit(tmp_path: Path) -> None:
    """Weights and moments of the trainer (17.3 GiB) and 0.4 of a GPU: 24 GB cannot hold both."""
    builtin = planned(tmp_path, "strive-lora-qwen2.5-vl-7b")

    def with_vllm(**changes: Any) -> Plan:
        rollout = replace(builtin.settings.rollout, engine="vllm", **changes)
        return replace(builtin, settings=replace(builtin.settings, rollout=rollout))

    made = with_vllm()
    assert made.need.sampling_bytes == made.need.sampling["weights"] + made.need.update["optimizer"]
    assert made.need.update_bytes == builtin.need.update_bytes
    text = plan_text(made)
    assert "gpu_memory_utilization=0.4 of each GPU while completions are sampled" in text
    assert "own 15.4 GiB of weights" in text
    assert "too small for both: RTX 4090 24 GB; of the others it is not known" in text
    assert "fits" not in text
    # 0.35 of 39.4 GiB do not hold the weights; without sleep 0.5 of it does not hold the update either.
    assert "too small for both: RTX 4090 24 GB, A100 40 GB;" in plan_text(
        with_vllm(gpu_memory_utilization=0.35)
    )
    awake = plan_text(with_vllm(gpu_memory_utilization=0.5, sleep=False))
    assert "all the time (rollout.sleep=false)" in awake
    assert "too small for both: RTX 4090 24 GB, A100 40 GB, L40S 48 GB;" in awake
    assert "vLLM's own" in plan_text(with_policy(made, device="cpu"))


def test_a_smaller_published_model_is_named_where_it_fits_a_smaller_gpu(tmp_path: Path) -> None:
    made = planned(tmp_path, "strive-lora-qwen2.5-vl-7b")
    said = "a smaller model, --model Qwen/Qwen2.5-VL-3B-Instruct: "
    assert re.search(rf"{re.escape(said)}[\d.]+ GiB, then fits RTX 4090 24 GB", plan_text(made))
    smaller = plan([make_shards(tmp_path / "s")], model="Qwen/Qwen2.5-VL-3B-Instruct", settings=made.settings)
    assert "a smaller model, --model" not in plan_text(smaller)
    assert "a smaller model, --model" not in plan_text(replace(made, model=str(tmp_path)))


# The model of a run by the end of its name, and the build that it is trained on.
MODELS = {
    "qwen2.5-vl-7b": ("qwen2.5-vl", "Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3-vl-8b": ("qwen3-vl", "Qwen/Qwen3-VL-8B-Instruct"),
}


def settings_of(run: str) -> TrainSettings:
    return load(TrainSettings, config=settings_file(Path(run), "runs"))


def build_named(name: str) -> BuildSettings:
    return load(BuildSettings, config=settings_file(Path(name), "builds"))


def build_of(run: str) -> BuildSettings:
    (name,) = (build for model, (build, _) in MODELS.items() if run.endswith(model))
    return build_named(name)


def planned(folder: Path, run: str, processes: int = 1) -> Plan:
    """The plan of a published run as its build would give it; everything is made below `folder`."""
    home = folder / f"{run}-{processes}"
    home.mkdir()
    wanted = build_of(run)
    small = replace(wanted, sampler=SETTINGS.sampler, shard=SETTINGS.shard)
    shards = make_shards(home / "shards", settings=small)
    (model,) = (name for model, (_, name) in MODELS.items() if run.endswith(model))
    made = plan([shards], model=model, settings=settings_of(run), processes=processes)
    return replace(made, frames=wanted.sampler.frames)


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
