"""The Python of the data README runs as written, on a build in a folder called shards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample

README = Path(__file__).parents[1] / "strive_data" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


# webdataset 1.0 leaves the closing of the files that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = a_sample("7")
    write_build(tmp_path / "shards", [sample])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert len(BLOCKS) == 2
    assert names["jpegs"] == sample.jpegs_of(sample.variants[0])


def test_the_polars_lines_say_what_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = a_sample("7")
    write_build(tmp_path / "shards", [sample, a_sample("8")])
    monkeypatch.chdir(tmp_path)
    lines = [line for line in BLOCKS[1].splitlines() if line.startswith("pl.")]
    kinds, frames, best = (eval(line, {"pl": pl}) for line in lines)
    assert kinds.height == 0
    assert frames["time"].to_list() == sample.times.tolist()
    assert best.filter(sample_id="7")["time"].to_list() == [[9.5, 8.5, 7.5]]
