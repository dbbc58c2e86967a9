"""The compared ways compute the same thing, from the same prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import load_policy
from tools.bench.models import SHAPES, save_model, small
from tools.bench.step.changes import rows, updated
from tools.bench.step.floor import floor
from tools.bench.step.ours import Ours
from tools.bench.step.plain import Plain
from tools.bench.step.task import Task
from tools.bench.step.update import random_completions, text_prompt, update_ways

TASK = Task(completions=3, frames=4, side=56, tokens=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("bench") / "model", small(64, 2))


@pytest.mark.parametrize("way", ["plain", "grouper"])
def test_an_update_in_any_way_has_the_same_log_probabilities(folder: Path, way: str) -> None:
    if way == "grouper":
        pytest.importorskip("prefix_grouper", reason="PrefixGrouper is in the [bench] extra")
    policy, other = (load_policy(str(folder), PolicySettings(device="cpu")) for _ in range(2))
    rng = np.random.default_rng(0)
    prompts = [text_prompt(rng, 9, 64) for _ in range(2)]
    ways = update_ways(policy, other.model, prompts, random_completions(rng, prompts, 3, 5))
    torch.testing.assert_close(ways[way](), ways["ours"](), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variants", [1, 2])
def test_a_step_reads_the_same_prompt_and_moves_the_weights(folder: Path, variants: int) -> None:
    task = replace(TASK, variants=variants)
    ours, plain = Ours(folder, task), Plain(folder, task.groups(), completions=3, tokens=4)
    before = [each.model.lm_head.weight.clone() for each in (ours.policy, plain)]
    ours.step()
    plain.step()
    assert all(len(group.views) == variants and len(group.views[0].frames) == 4 for group in task.groups())
    assert ours.prompt_tokens == plain.prompt_tokens > 2 * 4
    assert ours.stats["tokens"] == 2 * variants * 3 * 4
    assert ours.stats["logprob_gap"] < 1e-4
    assert set(ours.seconds) == {"encode", "rollout", "update", "total"}
    for owner, weight in zip((ours.policy, plain), before, strict=True):
        assert not torch.equal(owner.model.lm_head.weight, weight)


def test_only_ways_that_agree_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.step.changes.WIDTH", 64)
    case, before, after = next(updated(tmp_path))
    assert "".join(rows((case, before, after), 1)).endswith(" | equal |")
    for other in (1, torch.nan):
        with pytest.raises(ValueError, match="the largest difference is"):
            next(rows((case, before, lambda other=other: after() + other), 1))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL names settings that transformers renames
def test_trl_learns_with_the_video(folder: Path) -> None:
    """Its loss gets the pixels, so the first log-probabilities are those of our policy on its completions."""
    pytest.importorskip("trl", reason="TRL is in the [bench] extra")
    from tools.bench.step.by_trl import ByTrl

    ours, theirs = Ours(folder, TASK), ByTrl(folder, TASK)
    cpu, wall = theirs.step()
    ours.step()
    assert cpu > 0
    assert wall > 0
    assert theirs.prompt_tokens == ours.prompt_tokens
    assert theirs.trainer.passes_with_video >= 1


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL names settings that transformers renames
def test_trl_takes_an_image_for_each_frame(folder: Path) -> None:
    """Regression: the prompt had no placeholders, so TRL refused the images."""
    pytest.importorskip("trl", reason="TRL is in the [bench] extra")
    from tools.bench.step.by_trl import ByTrl

    video, images = Ours(folder, TASK), ByTrl(folder, TASK, images=True)
    video.step()
    images.step()
    assert images.prompt_tokens > video.prompt_tokens


@pytest.mark.parametrize("name", ["small", "small-qwen3"])
def test_the_floor_runs_on_the_shapes_of_a_model(tmp_path: Path, name: str) -> None:
    policy = load_policy(str(save_model(tmp_path / "model", SHAPES[name])), PolicySettings(device="cpu"))
    with torch.device("meta"):
        floor(policy.model, Task(), 300)
