"""What notebooks and other trainers import: the same frames as a build, and all that a build holds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import strive_data
from strive_data.build.api import _engine
from strive_data.build.pipeline import build
from strive_data.build.progress import BuildProgress
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.demo.draw import write_world
from strive_data.errors import DamagedError, FailureKind, SampleError, SettingsError, UsageError
from strive_data.shards.format import decode_jpeg
from strive_data.shards.reader import ShardSet
from tools.examples import select_frames as example

SCORER = "tests.strive_data.made.samples:WaveScorer"
SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=16, max_pixels=784),
    score=ScoreSettings(scorer=SCORER),
    sampler=SamplerSettings(frames=4, variants=2, seed=3),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos with two questions each, and their build."""
    folder = tmp_path_factory.mktemp("selection")
    rows = write_world(folder / "world", videos=2, questions_per_video=2, seed=5)
    build(
        [rows],
        data_root=rows.parent,
        out=folder / "build",
        settings=SETTINGS,
        observer=BuildProgress(),
        workers=1,
    )
    return folder


def test_the_frames_are_those_of_the_build(world: Path) -> None:
    """By the row's question, and by the same text under the same id; both calls share one scorer."""
    _engine.cache_clear()
    shards = ShardSet.open(world / "build")
    for position, as_text in ((1, False), (2, True)):
        stored = shards.read(position)
        asked = stored.meta.question
        chosen = strive_data.select_frames(
            world / "world" / asked.video,
            asked.question if as_text else asked,
            options=[option[3:] for option in asked.options] if as_text else (),
            sample_id=asked.sample_id,
            settings=replace(SETTINGS),
        )
        np.testing.assert_array_equal(chosen.indices, stored.variants)
        np.testing.assert_array_equal(chosen.times, stored.times[stored.variants])
        np.testing.assert_array_equal(chosen.scores, stored.scores[stored.variants])
        np.testing.assert_array_equal(chosen.sample.times, stored.times)
        assert chosen.jpegs == [stored.jpegs_of(row) for row in stored.variants]
        assert chosen.question.options == asked.options
    assert (_engine.cache_info().misses, _engine.cache_info().hits) == (1, 1)


def test_frames_variants_and_scorer_go_over_the_settings(world: Path) -> None:
    video = next((world / "world" / "videos").iterdir())
    chosen = strive_data.select_frames(
        video, "Which?", frames=6, variants=3, scorer="flat", settings=SETTINGS
    )
    assert chosen.indices.shape == chosen.times.shape == chosen.scores.shape == (3, 6)
    assert (np.diff(chosen.times) > 0).all()
    assert not chosen.scores.any()
    assert chosen.sample.meta.sampler["seed"] == 3
    images = chosen.images
    assert [len(row) for row in images] == [6, 6, 6]
    np.testing.assert_array_equal(np.asarray(images[2][5]), decode_jpeg(chosen.jpegs[2][5]))


def test_what_cannot_be_selected_is_named(world: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(SampleError, match=r"broken\.mp4") as refused:
        strive_data.select_frames(tmp_path / "broken.mp4", "Which?", settings=SETTINGS)
    assert refused.value.kind == FailureKind.NOT_MEDIA
    with pytest.raises(SampleError, match="File name too long"):
        strive_data.select_frames("x" * 300, "Which?", settings=SETTINGS)
    for question, options, says in [("", (), "question: got ''"), ("Who?", "AB", "options: got 'AB'")]:
        with pytest.raises(SampleError, match=says):
            strive_data.select_frames("clip.mp4", question, options=options, settings=SETTINGS)
    with pytest.raises(SampleError, match=r"clap\.mp4: No such file") as refused:  # and no scorer is made
        strive_data.select_frames(tmp_path / "clap.mp4", "Which?", scorer="clap")
    assert refused.value.kind == FailureKind.MISSING
    grouped = replace(SETTINGS, sampler=replace(SETTINGS.sampler, grouping="semantic"))
    with pytest.raises(SettingsError, match=r"--set sampler\.grouping=none.*; in Python, scorer= is for"):
        strive_data.select_frames(tmp_path / "broken.mp4", "Which?", scorer="flat", settings=grouped)
    with pytest.raises(SettingsError, match=r"sampler\.frames: got 7"):
        strive_data.select_frames("clip.mp4", "Which?", frames=7)
    with pytest.raises(SettingsError, match="did you mean 'clip'"):
        strive_data.select_frames(tmp_path / "broken.mp4", "Which?", scorer="clap")


def test_a_build_is_a_sequence_of_samples(world: Path) -> None:
    opened = strive_data.open_build(world / "build")
    ids = [one.question.sample_id for one in opened]
    assert ids == ["0", "1", "2", "3"]
    assert [one.question.sample_id for one in opened[1:3]] == ["1", "2"]
    assert opened[-1].question == opened["3"].question
    assert ("3" in opened, "4" in opened) == (True, False)
    assert opened.settings["sampler"]["seed"] == 3
    assert repr(opened) == f"<StoredBuild of 4 samples in {world / 'build'}>"
    assert repr(opened[0]).startswith("<SelectedFrames '0': 2 variants of 4 frames, videos/")
    assert len(repr(opened[0])) < 200
    with pytest.raises(IndexError, match="sample 4 of 4"):
        opened[4]
    with pytest.raises(SettingsError, match="unknown sample 'x'"):
        opened["x"]
    with pytest.raises(UsageError, match=r"has no run\.json"):
        strive_data.open_build(world / "world")


def test_the_tables_of_a_build(world: Path, tmp_path: Path) -> None:
    opened = strive_data.open_build(str(world / "build"))
    frames = opened.table("frames").filter(sample_id="2").collect()
    np.testing.assert_array_equal(frames["time"], opened["2"].sample.times)
    assert opened.table("samples").collect().height == 4
    assert opened.table("failures").collect().height == 0
    with pytest.raises(SettingsError, match="unknown table 'frame', did you mean 'frames'"):
        opened.table("frame")  # type: ignore[arg-type]


def test_the_tables_of_a_build_at_a_url(world: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").put(str(world / "build"), "/selection-build", recursive=True)
    opened = strive_data.open_build("memory://selection-build")
    assert opened[0].jpegs == strive_data.open_build(world / "build")[0].jpegs
    assert opened.table("frames").collect().height == 64
    with fsspec.open("memory://selection-build/samples.parquet", "ab") as file:
        file.write(b"x")
    with pytest.raises(DamagedError, match=r"samples\.parquet does not have the checksum"):
        opened.table("samples")


def test_the_example(world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    video = next((world / "world" / "videos").iterdir())
    options = ["--frames", "4", "--candidates", "16", "--scorer", "flat", "--out", str(tmp_path / "out")]
    example.app(["select", str(video), "Which sign?", *options], standalone_mode=False)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("variant 0: ")
    assert len(list((tmp_path / "out").glob("variant1-*s.jpg"))) == 4
    example.app(["read", str(world / "build")], standalone_mode=False)
    assert "4 samples" in capsys.readouterr().out


def test_importing_the_package_imports_nothing_else() -> None:
    heavy = "{'numpy', 'polars', 'torch', 'typer', 'av', 'rich'}"
    code = f"""
import sys, strive_data
assert not {heavy} & sys.modules.keys()
assert not [name for name in sys.modules if name.startswith('strive_data.')]
assert set(strive_data.__all__) <= set(dir(strive_data))
assert strive_data.open_build.__module__ == 'strive_data.build.api'
assert not {{'torch', 'av', 'typer'}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="'strive_data' has no attribute 'select'"):
        strive_data.select  # noqa: B018
