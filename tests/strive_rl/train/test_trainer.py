"""The loop: what it writes, that it learns, and that a resumed run is the same run bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from strive_data.config import SamplerSettings
from strive_data.errors import StriveError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import (
    AlgorithmSettings,
    DataSettings,
    OptimSettings,
    PolicySettings,
    RewardSettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.train.trainer import fit
from tests.strive_rl.made.models import save_tiny_qwen3_vl
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import RunOf, quiet, records


def settings(steps: int, **changes: Any) -> TrainSettings:
    return TrainSettings(
        **{
            "data": DataSettings(questions_per_step=4),
            "policy": PolicySettings(device="cpu"),
            "rollout": RolloutSettings(completions=4, max_new_tokens=5, temperature=4.0),
            "optim": OptimSettings(lr=1e-3),
            "steps": steps,
            "save_every": 2,
        }
        | changes
    )


# Each with what else a step then holds: a reference, old log-probabilities, importance weights, rounds.
LORA = PolicySettings(device="cpu", lora_rank=4)
DYNAMIC = replace(settings(1).rollout, dynamic_sampling_rounds=2)
RUNS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"policy": LORA, "algorithm": AlgorithmSettings(kl_beta=0.1, epochs_per_rollout=2)},
    "everything": {
        "algorithm": AlgorithmSettings(loss="gspo", kl_beta=0.1, importance_cap=2.0, minibatches=2),
        "optim": OptimSettings(lr=1e-3, schedule="cosine", decay_steps=4, warmup_steps=1),
    },
    "dapo": {"rollout": DYNAMIC, "algorithm": AlgorithmSettings(loss="dapo", mask_truncated=True)},
    "per variant": {
        "policy": LORA,
        "rollout": DYNAMIC,
        "algorithm": AlgorithmSettings(normalise="per_variant", kl_beta=0.1),
    },
}


@pytest.mark.parametrize("same", RUNS.values(), ids=RUNS)
def test_four_steps_are_two_and_two_more_bit_for_bit(
    tmp_path: Path, tiny_folder: Path, run_of: RunOf, same: dict[str, Any]
) -> None:
    whole = run_of(tmp_path / "whole", settings(4, **same))
    fit(whole, quiet)
    first = run_of(tmp_path / "parts", settings(2, **same))
    fit(first, quiet)
    second = run_of(tmp_path / "parts", settings(4, **same), resume=True)
    assert (second.step, second.cursor) == (2, first.cursor)
    fit(second, quiet)

    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    before = load_file(tiny_folder / "model.safetensors")
    assert any(not torch.equal(one[name], before[name]) for name in one)
    steps = records(tmp_path / "whole")
    assert steps == records(tmp_path / "parts")
    assert [record["step"] for record in steps] == [1, 2, 3, 4]
    assert any(record["update_tokens"] for record in steps)
    assert any(record["reference_kl"] for record in steps) == bool(whole.settings.algorithm.kl_beta)
    for record in steps:
        check_counts(record, whole.settings)


def check_counts(record: dict[str, Any], given: TrainSettings) -> None:
    """What the record of a step of four questions tells, whatever was switched on."""
    assert record["drawn"] == record["questions"]
    assert record["prompts"] == 2 * record["questions"]
    assert record["rollouts"] == 4 * record["prompts"]
    differ = round(record["questions"] * (1 - record["zero_advantage_share"]))
    assert record["informative"] == differ or (record["masked"] and record["informative"] < differ)
    if not given.rollout.dynamic_sampling_rounds:
        assert (record["drawn"], record["dynamic_sampling_rounds"]) == (4, 0)
    elif record["informative"] < 4:
        assert record["dynamic_sampling_rounds"] == 2
    assert bool(record["masked"]) <= given.algorithm.mask_truncated


def test_what_a_run_writes(tmp_path: Path, run_of: RunOf) -> None:
    out, seen = tmp_path / "out", []
    run = run_of(out, settings(3))
    folder = fit(run, lambda record, steps: seen.append((record["step"], steps)))
    assert folder == out / "model"
    assert seen == [(1, 3), (2, 3), (3, 3)]
    written = {"settings.json", "metrics.jsonl", "rollouts.jsonl", "model"}
    assert {path.name for path in out.iterdir()} == written | {"checkpoint-000002", "checkpoint-000003"}
    saved = jsonl.read_json(out / "settings.json")
    assert saved["settings"]["rollout"]["completions"] == 4
    assert saved["prompt_form"].startswith("<|im_start|>user\n<|vision_start|><|video_pad|>")
    rows = jsonl.read(out / "rollouts.jsonl")
    assert len({(row["step"], row["sample_id"], row["variant"]) for row in rows}) == 3 * 2 * 2
    record = jsonl.read(out / "metrics.jsonl")[0]
    assert set(record["seconds"]) == {"data", "encode", "rollout", "update", "total"}
    assert record["questions"] == 4
    assert record["learning_rate"] == 1e-3


def test_qwen3_vl_trains_on_neighbouring_frames(tmp_path: Path, run_of: RunOf) -> None:
    """Four frames a view, each with its neighbour; sampling and training agree on every token."""
    folder = save_tiny_qwen3_vl(tmp_path / "model")
    out, given = tmp_path / "out", settings(2)
    given = replace(given, policy=replace(given.policy, frame_pairs="neighbours"))
    fit(run_of(out, given, model=str(folder)), quiet)
    records = jsonl.read(out / "metrics.jsonl")
    assert len(records) == 2
    assert any(record["update_tokens"] for record in records)
    assert all(record["logprob_gap"] < 1e-4 for record in records if record["update_tokens"])
    assert "<0.5 seconds>" in jsonl.read_json(out / "settings.json")["prompt_form"]


def test_training_raises_the_reward(tmp_path: Path, run_of: RunOf) -> None:
    """The answer is always A: thirty steps must teach a model that can say few things to say that."""
    shards = make_shards(tmp_path / "shards", answers="A")
    run = run_of(tmp_path / "out", settings(30, save_every=100), shards=shards)
    fit(run, quiet)
    rewards = [record["reward"] for record in jsonl.read(tmp_path / "out" / "metrics.jsonl")]
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8 + 0.2


def test_a_users_reward_that_fails_stops_the_run_with_step_and_question(
    tmp_path: Path, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_reward.py").write_text(
        "calls = []\n"
        "def late(text, question):\n"
        "    calls.append(text)\n"
        "    return {'late': 1.0 if len(calls) <= 32 else float('nan')}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = {"accuracy": 0.8, "format": 0.1, "late": 0.1}
    reward = RewardSettings(weights=weights, function="own_reward:late")
    out = tmp_path / "out"
    run = run_of(out, settings(3, reward=reward))
    says = r"^step 2, question q\d: reward\.function own_reward:late gave late = nan, expected a number"
    with pytest.raises(StriveError, match=says):
        fit(run, quiet)
    (record,) = jsonl.read(out / "metrics.jsonl")
    assert record["custom"] == {"late": 1.0}
    assert jsonl.read(out / "rollouts.jsonl")[0]["late"] == 1.0


def test_a_batch_of_which_nothing_fits_stops_the_run(tmp_path: Path, run_of: RunOf) -> None:
    small = settings(1, policy=PolicySettings(device="cpu", max_prompt_tokens=50))
    run = run_of(tmp_path / "out", small)
    with pytest.raises(StriveError, match=r"step 1: none of 4 questions .* policy\.max_prompt_tokens is 50"):
        fit(run, quiet)


def test_the_defaults_are_those_of_the_sampler(shards: ShardSet) -> None:
    assert (
        shards.settings["sampler"]["variants"] == SamplerSettings().variants == TrainSettings().data.variants
    )
