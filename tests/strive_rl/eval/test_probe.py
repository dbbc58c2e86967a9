"""Pass rates by question and variant: the table as typed, what filters read of it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from strive_data.build.verify import verify_build
from strive_data.common.files import output_folder
from strive_data.errors import SettingsError, UsageError
from strive_rl.config import PolicySettings
from strive_rl.eval.config import ProbeSettings
from strive_rl.eval.probe import probe, summary
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.test_cli import typed


def test_the_table_as_typed(tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "shards"
    shards = make_shards(folder, samples=3)
    command = ["probe", "--shards", folder, "--model", tiny_folder, "--variants", "2", "--completions", "3"]
    command += ["--set", "policy.device=cpu", "--max-new-tokens", "3"]
    assert typed(*command) == 0
    file = folder / "pass_rates.parquet"
    shown = capfd.readouterr().out
    assert shown.startswith("3 questions, mean pass rate ")
    assert shown.endswith(f"{file}\n")
    table = pl.read_parquet(file)
    assert table["sample_id"].to_list() == ["q0", "q0", "q1", "q1", "q2", "q2"]
    assert table["variant"].to_list() == [0, 1] * 3
    assert table["completions"].to_list() == [3] * 6
    assert (table["pass_rate"] * 3).to_list() == pytest.approx(table["passed"].to_list())
    assert set(table.filter(sample_id="q0")["evidence_seen"]) <= {True, False}
    record = json.loads(pl.read_parquet_metadata(file)["strive"])
    assert (record["shards_fingerprint"], record["settings"]["completions"]) == (shards.fingerprint, 3)
    # It is beside the build and not part of it.
    assert "pass_rates.parquet" not in {each.file for each in verify_build(folder, workers=1).problems}
    assert typed(*command) == 2
    assert "pass_rates.parquet is there already" in capfd.readouterr().err
    assert typed("probe", "--shards", "s3://a/b", "--model", tiny_folder) == 2
    assert "give --out" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with output_folder(tmp_path / "busy"):
        for name, says in (("file", "is a file"), ("busy", "another process")):
            out = tmp_path / name
            assert typed("probe", "--shards", tmp_path / "none", "--model", tiny_folder, "--out", out) == 2
            assert says in capfd.readouterr().err
    assert typed("probe", "--shards", tmp_path, "--model", tiny_folder, "--out", "/proc/none") == 2
    assert "--out /proc/none: " in capfd.readouterr().err


def test_a_question_without_a_prompt_is_a_row_with_the_reason(tmp_path: Path, tiny_folder: Path) -> None:
    shards = make_shards(tmp_path / "shards", samples=2)
    settings = ProbeSettings(policy=PolicySettings(device="cpu", max_prompt_tokens=50), max_new_tokens=2)
    table = probe(tmp_path / "new" / "p.parquet", shards=shards, model=str(tiny_folder), settings=settings)
    assert table["completions"].to_list() == [0] * 4
    assert table["pass_rate"].to_list() == [None] * 4
    assert all("prompt of" in reason for reason in table["reason"])
    assert "without completions: 2 questions" in summary(table)


def test_what_is_no_probe() -> None:
    with pytest.raises(SettingsError, match="samplers: got uniform, importance"):
        ProbeSettings(samplers=("uniform", "importance"))
    with pytest.raises(SettingsError, match="vote"):
        ProbeSettings(vote=True)
    with pytest.raises(UsageError):
        probe(Path("/"), shards=None, model="", settings=ProbeSettings())  # type: ignore[arg-type]
