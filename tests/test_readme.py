"""The documentation: its Python runs as written, its links lead somewhere, its settings exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl
import pytest

from strive_data.config import BuildSettings
from strive_data.demo.draw import write_h264
from strive_rl.config import TrainSettings
from strive_rl.eval.config import BenchmarkSettings
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample
from tests.strive_data.score.videos import video_of

ROOT = Path(__file__).parents[1]
README = ROOT / "strive_data" / "README.md"
PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("manifests", "strive_data", "strive_rl", "tools")
        for page in (ROOT / folder).rglob("*.md")
    ),
]
# Names with a dot on a page that are files, not settings.
FILE = re.compile(r"\.(jsonl?|md|parquet|py|toml)$")
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


# webdataset 1.0 leaves the closing of the files that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = a_sample("7")
    write_build(tmp_path / "shards", [sample])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    pictures = (np.full((28, 28, 3), 10 * number, np.uint8) for number in range(20))
    write_h264(tmp_path / "clip.mp4", pictures, frames_per_second=4, height=28, width=28)
    for block in BLOCKS:
        exec(block.replace('scorer="clip"', 'scorer="flat"'), names)
    assert len(BLOCKS) == 4
    assert names["jpegs"] == sample.jpegs_of(sample.variants[0])
    assert names["chosen"].times.shape == (2, 16)
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    (scored,) = names["Brightness"](None).score(video_of(frames), [a_question()])
    assert (scored.scores.tolist(), scored.scores.dtype) == ([0.0, 1.0, 2.0], np.float32)


def test_the_polars_lines_say_what_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = a_sample("7")
    write_build(tmp_path / "shards", [sample, a_sample("8")])
    monkeypatch.chdir(tmp_path)
    lines = [line for line in BLOCKS[1].splitlines() if line.startswith("pl.")]
    kinds, frames, best = (eval(line, {"pl": pl}) for line in lines)
    assert kinds.height == 0
    assert frames["time"].to_list() == sample.times.tolist()
    assert best.filter(sample_id="7")["time"].to_list() == [[9.5, 8.5, 7.5]]


def headings(page: Path) -> set[str]:
    """The ids that headings of a page have on GitHub."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def settings_names(settings: Any, section: str = "") -> Iterator[str]:
    hints = get_type_hints(settings)
    for field in fields(settings):
        yield section + field.name
        if is_dataclass(hints[field.name]):
            yield from settings_names(hints[field.name], f"{section}{field.name}.")


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md"],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_settings_on_a_page_exist(page: Path) -> None:
    known = {
        name for each in (BuildSettings, TrainSettings, BenchmarkSettings) for name in settings_names(each)
    }
    sections = "|".join({name.partition(".")[0] for name in known if "." in name})
    named = re.findall(rf"(?<![\w.])((?:{sections})\.[a-z_]+(?:\.[a-z_]+)?)\b", page.read_text())
    assert {name for name in named if not FILE.search(name)} <= known
