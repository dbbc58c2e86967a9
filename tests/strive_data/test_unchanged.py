"""The short cut against what reading the rows finds, for each thing that can have changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data import unchanged
from strive_data.annotations.read import read_annotations
from strive_data.plan import failures_of, plan_pending_jobs
from strive_data.shards.build_state import read_build_state
from strive_data.unchanged import Unchanged, find_unchanged
from tests.strive_data.builds import reseal
from tests.strive_data.fake_engine import SETTINGS, FakeEngine, write_annotation
from tests.strive_data.test_resume import counts_of, run


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    """Three videos with two rows each, and a bad row."""
    path = write_annotation(tmp_path / "data", "aabbcc")
    with path.open("a") as file:
        file.write("{}\n")
    return path


@pytest.fixture
def out(annotation: Path, tmp_path: Path) -> Path:
    """Its build, in which the video c and the row b2 failed."""
    out = tmp_path / "out"
    run(annotation, out, FakeEngine("c", ["b2"]))
    return out


def found(out: Path, *annotations: Path, recipe: str | None = None) -> Unchanged | None:
    ledger = read_build_state(out, SETTINGS)
    return find_unchanged(out, ledger, annotations, annotations[0].parent, recipe=recipe)


def test_it_tells_what_reading_the_rows_tells(annotation: Path, out: Path) -> None:
    rows, ledger = read_annotations([annotation], annotation.parent), read_build_state(out, SETTINGS)
    work = plan_pending_jobs(rows, ledger, annotation.parent)
    failures = sorted(failures_of(rows, ledger), key=lambda failure: failure.row)
    expected = Unchanged(counts=counts_of(out), failures=tuple(failures))
    assert (expected.counts["videos"], expected.counts["tried_videos"]) == (2, work.videos) == (2, 3)
    assert work.jobs == ()
    assert [failure.row for failure in expected.failures] == [2, 4, 5, 6]
    assert found(out, annotation) == found(out, annotation, recipe="plain-id") == expected
    typed = find_unchanged(out, ledger, [f"file://{annotation}"], annotation.parent, recipe=None)
    assert typed == expected


def test_what_is_behind_a_url_is_to_be_fetched_first(annotation: Path, out: Path) -> None:
    ledger = read_build_state(out, SETTINGS)
    for url, root in (("s3://bucket/rows.jsonl", annotation.parent), (annotation, "s3://bucket/videos")):
        assert find_unchanged(out, ledger, [url], root, recipe=None) is None


def test_a_video_of_a_sample_may_be_gone(annotation: Path, out: Path) -> None:
    (annotation.parent / "a.mp4").unlink()
    assert found(out, annotation) is not None


def add_a_row(annotation: Path, out: Path) -> None:
    with annotation.open("a") as file:
        file.write("{}\n")


def lose_the_annotation(annotation: Path, out: Path) -> None:
    annotation.unlink()


def lose_a_failed_video(annotation: Path, out: Path) -> None:
    (annotation.parent / "c.mp4").unlink()


def lose_a_table(annotation: Path, out: Path) -> None:
    (out / "index.parquet").unlink()


def damage_the_failures(annotation: Path, out: Path) -> None:
    path = out / "failures.parquet"
    path.write_bytes(path.read_bytes() + b"x")


def stop_before_the_end(annotation: Path, out: Path) -> None:
    (out / "run.json").unlink()


def change_the_version(annotation: Path, out: Path) -> None:
    versions = json.loads((out / "run.json").read_text())["versions"]
    reseal(out, versions=versions | {"strive": "0.0"})


def change_the_recipe(annotation: Path, out: Path) -> None:
    reseal(out, recipes={annotation.as_posix(): "own.toml"})


@pytest.mark.parametrize(
    "change",
    [
        add_a_row,
        lose_the_annotation,
        lose_a_failed_video,
        lose_a_table,
        damage_the_failures,
        stop_before_the_end,
        change_the_version,
        change_the_recipe,
    ],
)
def test_in_doubt_the_rows_are_read(
    annotation: Path, out: Path, change: Callable[[Path, Path], None]
) -> None:
    change(annotation, out)
    assert found(out, annotation) is None


def test_another_recipe_or_another_list_of_files_is_a_doubt(annotation: Path, out: Path) -> None:
    assert found(out, annotation, recipe="video-r1") is None
    assert found(out, annotation, annotation) is None


def test_a_video_that_was_missing_is_looked_for_again(annotation: Path, tmp_path: Path) -> None:
    (annotation.parent / "b.mp4").unlink()
    run(annotation, tmp_path / "out")
    assert found(tmp_path / "out", annotation) is None
    (annotation.parent / "b.mp4").touch()
    summary, engine = run(annotation, tmp_path / "out")
    assert (summary.samples, engine.videos) == (6, ["b.mp4"])


def test_an_own_recipe_counts_with_its_bytes(annotation: Path, tmp_path: Path) -> None:
    home = Path(unchanged.__file__).parents[1] / "manifests" / "datasets" / "plain-id.toml"
    own = tmp_path / "own.toml"
    own.write_text(home.read_text())
    out = tmp_path / "out"
    run(annotation, out)
    rows = read_annotations([annotation], annotation.parent, recipe=str(own))
    reseal(out, inputs_sha256=rows.input_sha256, recipes={annotation.as_posix(): str(own)})
    assert found(out, annotation, recipe=str(own)) is not None
    assert found(out, annotation) is None
    own.write_text(home.read_text() + "\n")
    assert found(out, annotation, recipe=str(own)) is None


def test_a_build_without_samples_is_a_doubt(annotation: Path, out: Path) -> None:
    ledger = replace(read_build_state(out, SETTINGS), done={})
    assert find_unchanged(out, ledger, [annotation], annotation.parent, recipe=None) is None
