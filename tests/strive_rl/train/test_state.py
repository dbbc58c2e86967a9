"""What a folder allows: a run started, resumed, or refused with the difference named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from strive_data.errors import DamagedError, StriveError, UsageError
from strive_rl.common import jsonl
from strive_rl.config import DataSettings, PolicySettings
from strive_rl.train.trainer import fit
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import RunOf, quiet
from tests.strive_rl.train.test_trainer import settings


def test_a_folder_that_holds_a_run_is_refused_and_an_empty_one_cannot_be_resumed(
    tmp_path: Path, run_of: RunOf
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no run to resume"):
        run_of(out, settings(1), resume=True)
    run_of(out, settings(1))
    run = run_of(out, settings(1), resume=True)
    assert run.step == 0
    fit(run, quiet)
    with pytest.raises(UsageError, match="already holds a run"):
        run_of(out, settings(1))


def test_a_run_that_failed_in_its_first_step_may_start_again_with_other_settings(
    tmp_path: Path, run_of: RunOf
) -> None:
    out = tmp_path / "out"
    small = settings(1, policy=PolicySettings(device="cpu", max_prompt_tokens=50))
    with pytest.raises(StriveError, match=r"policy\.max_prompt_tokens is 50"):
        fit(run_of(out, small), quiet)
    run = run_of(out, settings(1))
    saved = jsonl.read_json(out / "settings.json")["settings"]["policy"]["max_prompt_tokens"]
    assert saved == PolicySettings().max_prompt_tokens
    fit(run, quiet)
    assert [record["step"] for record in jsonl.read(out / "metrics.jsonl")] == [1]


@pytest.mark.parametrize("name", ["metrics.jsonl", "predictions.jsonl", "results.json", "checkpoint-000002"])
def test_settings_beside_steps_or_answers_are_never_written_over(
    tmp_path: Path, run_of: RunOf, name: str
) -> None:
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="already holds a run"):
        run_of(tmp_path, settings(1))
    assert (tmp_path / "settings.json").read_text() == "{}"


def test_a_run_with_more_steps_than_the_settings_is_refused(tmp_path: Path, run_of: RunOf) -> None:
    """Its settings would say fewer steps than its model has seen."""
    out = tmp_path / "out"
    fit(run_of(out, settings(2)), quiet)
    before = (out / "settings.json").read_bytes()
    with pytest.raises(UsageError, match=r"has 2 steps already, more than steps=1"):
        run_of(out, settings(1), resume=True)
    assert (out / "settings.json").read_bytes() == before


def test_resuming_another_run_names_the_difference(tmp_path: Path, run_of: RunOf) -> None:
    run_of(tmp_path / "out", settings(1))
    with pytest.raises(UsageError, match=r"seed was 0, now 1$"):
        run_of(tmp_path / "out", settings(1, seed=1), resume=True)
    other = make_shards(tmp_path / "other", samples=5)
    with pytest.raises(UsageError, match="shards_fingerprint was"):
        run_of(tmp_path / "out", settings(1), resume=True, shards=other)


THREE = settings(3, save_every=1, keep=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run_of: RunOf) -> Path:
    """A run of three steps with a checkpoint after each."""
    out = tmp_path_factory.mktemp("trained") / "out"
    fit(run_of(out, THREE), quiet)
    return out


def test_resuming_from_an_earlier_checkpoint_keeps_the_later_ones_under_other_names(
    trained: Path, tmp_path: Path, run_of: RunOf, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    (out / ".checkpoint-000004.tmp").mkdir()
    with (out / "checkpoint-000003" / "trainer.pt").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(DamagedError, match=r"trainer\.pt.*--resume-from checkpoint-000002"):
        run_of(out, THREE, resume=True)
    run = run_of(out, THREE, resume=True, resume_from=Path("checkpoint-000002"))
    assert run.step == 2
    assert "checkpoint-000003.set-aside-1" in capsys.readouterr().err
    assert [record["step"] for record in jsonl.read(out / "metrics.jsonl")] == [1, 2]
    fit(run, quiet)
    names = ["checkpoint-000001", "checkpoint-000002", "checkpoint-000003", "checkpoint-000003.set-aside-1"]
    assert sorted(path.name for path in out.iterdir() if "checkpoint" in path.name) == names
    for name in ("model", "checkpoint-000003"):
        ours, theirs = (each / name / "model.safetensors" for each in (out, trained))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    ("kept", "warning"),
    [(0, "lacks 3 steps from 1 on"), (2, "lacks step 3"), (3, ""), (None, "lacks 3 steps")],
)
def test_metrics_that_were_lost_are_named(
    trained: Path,
    tmp_path: Path,
    run_of: RunOf,
    capsys: pytest.CaptureFixture[str],
    kept: int | None,
    warning: str,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if kept is None:
        path.unlink()
    else:
        path.write_text("".join(lines[:kept]) + '{"step": ')
    assert run_of(out, THREE, resume=True).step == 3
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.json", "[1, 2]"),
        ("settings.json", "{}"),
        ("settings.json", "{"),
        ("metrics.jsonl", '{"steps": 1}\n'),
        ("metrics.jsonl", '{"step": "1"}\n'),
    ],
)
def test_a_damaged_file_of_a_run_is_one_line_with_its_name(
    trained: Path, tmp_path: Path, run_of: RunOf, name: str, content: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    (out / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        run_of(out, THREE, resume=True)
    assert str(out / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_an_earlier_version_is_resumed_with_a_warning_and_its_state_is_checked(
    trained: Path, tmp_path: Path, run_of: RunOf, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    folder = out / "checkpoint-000003"
    (folder / "manifest.json").unlink()
    with pytest.raises(DamagedError, match=r"000003/manifest\.json: .*--resume-from checkpoint-000002$"):
        run_of(out, THREE, resume=True)
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        (folder / name).unlink()  # what no version without manifests wrote
    assert run_of(out, THREE, resume=True).step == 3
    assert f"warning: {folder} has no manifest: it was removed, or an earlier" in capsys.readouterr().err
    processor = (folder / "processor_config.json").rename(tmp_path / "processor_config.json")
    with pytest.raises(DamagedError, match=r"000003/processor_config\.json: missing"):
        run_of(out, THREE, resume=True)
    processor.rename(folder / "processor_config.json")
    state = torch.load(folder / "trainer.pt", weights_only=True)
    for broken in ({}, state | {"optimizer": {}}, state | {"data": None}, [1]):
        torch.save(broken, folder / "trainer.pt")
        with pytest.raises(UsageError, match=r"trainer\.pt cannot be read"):
            run_of(out, THREE, resume=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"checkpoint-000003 cannot be read"):
        run_of(out, THREE, resume=True)
    for number in (1, 2, 3):  # what is left are models: the run would start over without a word
        for name in ("trainer.pt", "manifest.json"):
            (out / f"checkpoint-00000{number}" / name).unlink(missing_ok=True)
    with pytest.raises(DamagedError, match=r"000003: trainer\.pt and its manifest .*another --out"):
        run_of(out, THREE, resume=True)


def test_a_bad_model_or_plan_leaves_no_folder(tmp_path: Path, run_of: RunOf) -> None:
    bad = settings(1, data=DataSettings(draw="stored", variants=1))
    with pytest.raises(UsageError, match="variants: 2, now 1"):
        run_of(tmp_path / "out", bad)
    with pytest.raises(UsageError, match="no such folder"):
        run_of(tmp_path / "out", settings(1), model=str(tmp_path / "absent"))
    assert not (tmp_path / "out").exists()
