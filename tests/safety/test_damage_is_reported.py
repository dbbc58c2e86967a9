"""Damage is reported in one line by every reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from strive_data.build.verify import verify_build
from strive_data.cli import app
from strive_data.errors import StriveError
from strive_data.inspect.report import Selection, write_report
from strive_data.inspect.tables import build_overview, sample_ids
from strive_data.inspect.timeline import write_plot
from strive_data.shards.reader import ShardSet


@pytest.mark.parametrize("name", ["run.json", "index.parquet", "samples.parquet", "shard-000000.tar"])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_a_damaged_build_is_reported_in_one_line(build: Path, tmp_path: Path, name: str, harm: str) -> None:
    """By every command that reads it: no traceback, and the file is named."""
    path = build / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    if harm == "gone":
        path.unlink()
    readers: list[Callable[[], object]] = []
    if name != "samples.parquet":
        readers += [
            lambda: [shards.read(i) for shards in [ShardSet.open(build)] for i in range(2)],
            lambda: write_report(build, tmp_path / "r.html", Selection()),
            lambda: [write_plot(build, sample_id, tmp_path / "p.png") for sample_id in "12"],
        ]
    if name in ("run.json", "samples.parquet"):
        readers += [lambda: build_overview(build), lambda: sample_ids(build)]
    if name != "shard-000000.tar":
        readers.append(lambda: app(["overlap", str(build), str(build)], standalone_mode=False))
    for read in readers:
        with pytest.raises(StriveError, match=name.replace(".", r"\.")) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert any(problem.file == name for problem in verify_build(build, workers=1).problems)
    shutil.rmtree(build)
