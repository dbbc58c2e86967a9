"""What a folder allows: a run begun, gone on with, or refused with the difference named."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import StriveError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import DataSettings, PolicySettings
from strive_rl.train.state import resume, start
from strive_rl.train.trainer import fit
from tests.strive_rl.made_shards import make_shards
from tests.strive_rl.train.test_trainer import quiet, settings


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return make_shards(tmp_path_factory.mktemp("begin") / "shards")


def test_a_folder_that_holds_a_run_is_refused_and_an_empty_one_cannot_be_resumed(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no run to resume"):
        resume(out, shards=shards, model=str(tiny_folder), settings=settings(1))
    start(out, shards=shards, model=str(tiny_folder), settings=settings(1))
    run = resume(out, shards=shards, model=str(tiny_folder), settings=settings(1))
    assert run.step == 0
    fit(run, quiet)
    with pytest.raises(UsageError, match="already holds a run"):
        start(out, shards=shards, model=str(tiny_folder), settings=settings(1))


def test_a_run_that_failed_in_its_first_step_may_be_begun_with_other_settings(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path
) -> None:
    out = tmp_path / "out"
    small = settings(1, policy=PolicySettings(device="cpu", max_prompt_tokens=50))
    with pytest.raises(StriveError, match=r"policy\.max_prompt_tokens is 50"):
        fit(start(out, shards=shards, model=str(tiny_folder), settings=small), quiet)
    run = start(out, shards=shards, model=str(tiny_folder), settings=settings(1))
    saved = jsonl.read_json(out / "settings.json")["settings"]["policy"]["max_prompt_tokens"]
    assert saved == PolicySettings().max_prompt_tokens
    fit(run, quiet)
    assert [record["step"] for record in jsonl.read(out / "metrics.jsonl")] == [1]


@pytest.mark.parametrize("name", ["metrics.jsonl", "predictions.jsonl", "results.json", "checkpoint-000002"])
def test_settings_beside_steps_or_answers_are_never_written_over(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, name: str
) -> None:
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="already holds a run"):
        start(tmp_path, shards=shards, model=str(tiny_folder), settings=settings(1))
    assert (tmp_path / "settings.json").read_text() == "{}"


def test_a_run_that_is_further_on_than_asked_is_refused(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path
) -> None:
    """Its settings would say fewer steps than its model has seen."""
    out = tmp_path / "out"
    fit(start(out, shards=shards, model=str(tiny_folder), settings=settings(2)), quiet)
    before = (out / "settings.json").read_bytes()
    with pytest.raises(UsageError, match="has 2 steps already, more than the 1 asked for"):
        resume(out, shards=shards, model=str(tiny_folder), settings=settings(1))
    assert (out / "settings.json").read_bytes() == before


def test_resuming_another_run_names_the_difference(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path
) -> None:
    start(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=settings(1))
    with pytest.raises(UsageError, match=r"seed was 0, now 1$"):
        resume(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=settings(1, seed=1))
    other = make_shards(tmp_path / "other", samples=5)
    with pytest.raises(UsageError, match="shards_fingerprint was"):
        resume(tmp_path / "out", shards=other, model=str(tiny_folder), settings=settings(1))


def test_a_bad_model_or_plan_leaves_no_folder(tmp_path: Path, shards: ShardSet, tiny_folder: Path) -> None:
    bad = settings(1, data=DataSettings(sampler="nothing"))
    with pytest.raises(UsageError, match=r"unknown data\.sampler"):
        start(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=bad)
    with pytest.raises(UsageError, match="no such folder"):
        start(tmp_path / "out", shards=shards, model=str(tmp_path / "absent"), settings=settings(1))
    assert not (tmp_path / "out").exists()
