"""What makes two runs one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from strive_data.common.settings import as_dict
from strive_data.errors import UsageError
from strive_rl.common.run_settings import (
    model_identity,
    require_finished,
    require_same,
    require_same_prompts,
    run_record,
    with_defaults,
)
from strive_rl.config import DataSettings, OptimSettings, PolicySettings, TrainSettings, ValidationSettings
from tests.strive_rl.made.shards import make_shards


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Any]:
    shards = make_shards(tmp_path / "shards", samples=1)
    return run_record(as_dict(TrainSettings()), model="demo", shards=shards)


def test_the_record_says_what_went_in(saved: dict[str, Any]) -> None:
    assert saved["settings"]["rollout"]["completions"] == 4
    assert saved["model"] == "demo"
    assert len(saved["shards_fingerprint"]) == 16
    assert set(saved["versions"]) == {"python", "torch", "transformers"}


def test_more_steps_and_less_memory_are_the_same_run(saved: dict[str, Any]) -> None:
    changed = TrainSettings(steps=5, save_every=7, policy=PolicySettings(groups_per_pass=1))
    now = saved | {"settings": as_dict(changed), "shards": "moved"}
    require_same(saved, now, Path("out"))


def test_validation_matters_only_to_a_run_with_a_heldout_build(saved: dict[str, Any]) -> None:
    changed = TrainSettings(validation=ValidationSettings(sampler="uniform"))
    now = saved | {"settings": as_dict(changed)}
    require_same(saved, now, Path("out"))
    held = {"heldout_fingerprint": "1f"}
    with pytest.raises(UsageError, match=r"validation\.sampler was training, now uniform"):
        require_same(saved | held, now | held, Path("out"))


def test_a_rate_that_falls_to_the_end_fixes_where_that_is(saved: dict[str, Any]) -> None:
    for optim, same in (
        (OptimSettings(schedule="cosine"), False),
        (OptimSettings(schedule="cosine", decay_steps=1000), True),
        (OptimSettings(), True),
    ):
        before, after = (
            saved | {"settings": as_dict(TrainSettings(steps=n, optim=optim))} for n in (1000, 2000)
        )
        if same:
            require_same(before, after, Path("out"))
        else:
            with pytest.raises(UsageError, match="steps was 1000, now 2000"):
                require_same(before, after, Path("out"))


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [
        ("algorithm.logprob_condition", "own", "clean"),
        ("algorithm.baseline", "mean", "leave_one_out"),
        ("data.alpha_gain", 0.2, 0.3),
        ("data.alpha_schedule", "constant", "linear"),
        ("data.alpha_final", None, 1.0),
        ("data.alpha_steps", None, 50),
    ],
)
def test_a_setting_that_is_gone_stops_a_resume_only_where_it_was_in_use(
    saved: dict[str, Any], name: str, default: Any, other: Any
) -> None:
    section, key = name.split(".")
    before = [copy.deepcopy(saved) for _ in range(2)]
    for record, value in zip(before, (default, other), strict=True):
        record["settings"][section][key] = value
    require_same(before[0], saved, Path("out"))
    assert with_defaults(before[0]["settings"]) == saved["settings"]  # as a study compares them
    with pytest.raises(UsageError, match=f"{name} was {other}, now None"):
        require_same(before[1], saved, Path("out"))


def test_every_other_difference_is_named(saved: dict[str, Any]) -> None:
    settings = as_dict(TrainSettings(data=DataSettings(variants=4), seed=3))
    now = saved | {"settings": settings, "shards_fingerprint": "other"}
    with pytest.raises(UsageError) as caught:
        require_same(saved, now, Path("out"))
    message = str(caught.value)
    assert "data.variants was 2, now 4" in message
    assert "seed was 0, now 3" in message
    assert "shards_fingerprint was" in message
    assert "steps" not in message


def test_a_run_with_prompts_of_another_form_is_not_resumed(saved: dict[str, Any]) -> None:
    """Runs from before the form was recorded have none to compare."""
    require_same_prompts(saved, "<0.5 seconds>", Path("out"))
    require_same_prompts(saved | {"prompt_form": "<0.5 seconds>"}, "<0.5 seconds>", Path("out"))
    with pytest.raises(UsageError, match=r"in this run it was '<t>'; resume with transformers \d"):
        require_same_prompts(saved | {"prompt_form": "<t>"}, "<0.5 seconds>", Path("out"))


def test_a_folder_is_known_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_identity("m") == model_identity("./m") == str(tmp_path.resolve() / "m")
    assert model_identity("Qwen/Qwen2.5-VL-7B-Instruct") == "Qwen/Qwen2.5-VL-7B-Instruct"


def test_demo_is_the_packages_model_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_identity("demo") == "demo"
    assert model_identity("./demo") == str(tmp_path / "demo")


def test_a_finished_evaluation_is_the_same_or_its_difference_is_named() -> None:
    results = {"settings": {"seed": 0, "answers": 1}, "model": "a", "seconds": 3}
    require_finished(results, {"settings": {"seed": 0, "completions": 1}, "model": "a"}, Path("out"))
    before, now = ({"settings": {"policy": {"groups_per_pass": n, "dtype": "auto"}}} for n in (8, 1))
    require_finished(before, now, Path("out"))  # an evaluation has no backward pass
    with pytest.raises(UsageError) as raised:
        require_finished(results, {"settings": {"seed": 1, "completions": 1}, "model": "b"}, Path("out"))
    assert str(raised.value) == (
        "out holds an evaluation, made otherwise (settings.seed: 0, now 1; model: 'a', now 'b'): "
        "restore that, or give another --out"
    )
    with pytest.raises(UsageError, match="results of something else"):
        require_finished(results, {"benchmark": "mmvu"}, Path("out"))
