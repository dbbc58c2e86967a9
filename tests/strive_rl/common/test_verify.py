"""A run is checked without torch, and every damaged file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import write_manifest
from strive_rl.common.run_folder import verify


@pytest.fixture
def run(tmp_path: Path) -> Path:
    keys = ("settings", "model", "shards_fingerprint", "versions")
    jsonl.write_json(tmp_path / "settings.json", {key: {} for key in keys})
    jsonl.append(tmp_path / "metrics.jsonl", [{"step": 1}])
    for name in ("checkpoint-000001", "checkpoint-000002", "model", "checkpoint-best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"abc")
        if name != "checkpoint-000001":
            write_manifest(tmp_path / name)
    return tmp_path


def test_an_intact_run_and_what_could_not_be_checked(run: Path) -> None:
    report = verify(run)
    assert report.problems == ()
    assert "checked 2 model folders" in report.summary
    assert report.summary.endswith("not checked: checkpoint-000001")
    assert verify(run / "model").problems == ()


def test_every_damaged_file_is_named(run: Path) -> None:
    (run / "model" / "model.safetensors").write_bytes(b"abd")
    (run / "checkpoint-000002" / "model.safetensors").unlink()
    (run / "metrics.jsonl").write_text("[]\n")
    for name in ("trainer.pt", "preprocessor_config.json", "video_preprocessor_config.json"):
        (run / "checkpoint-000001" / name).touch()  # with these it was written with a manifest
    problems = verify(run).problems
    lost = "checkpoint-000001/manifest.json: missing"
    assert verify(run / "checkpoint-000001").problems == (f"{run}/{lost}",)
    named = (
        lost,
        "checkpoint-000002/model.safetensors: missing",
        "model/model.safetensors: damaged",
        "line 1",
    )
    assert all(text in problem for text, problem in zip(named, problems, strict=True))


def test_a_folder_that_is_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"manifest\.json"):
        verify(tmp_path)
