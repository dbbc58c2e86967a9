"""Every changed byte of a build is found and its file named, and so is every table that disagrees."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from strive_data.build.verify import Problem, verify_build
from strive_data.common.files import write_json
from strive_data.common.settings import fingerprint, load
from strive_data.config import BuildSettings
from strive_data.errors import FailureKind, UsageError
from tests.strive_data.made.builds import rewrite_run, write_build
from tests.strive_data.made.samples import a_failure, a_sample, build_settings

FLIPS_PER_FILE = 6
TABLES = ("samples", "frames", "failures", "index")
SHARD_FILES = [f"shard-000000.{kind}" for kind in ("json", "tar", "samples.parquet", "frames.parquet")]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [a_sample(name) for name in ("a", "b", "c.c")]
    return write_build(
        tmp_path_factory.mktemp("verify") / "sound", samples, failures=[a_failure()], a_shard=2
    )


@pytest.fixture
def build(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "build"))


def problems_of(folder: Path) -> str:
    """All problems of a build, a line each."""
    return "\n".join(map(str, verify_build(folder, workers=1).problems))


def test_a_sound_build_has_no_problem_and_is_counted(sound: Path) -> None:
    result = verify_build(sound, workers=1)
    assert result.problems == []
    assert (result.read["shards"], result.read["samples"]) == (2, 3)
    assert result.read["frames"] == pl.read_parquet(sound / "samples.parquet")["stored"].sum()
    assert result.read["bytes"] == sum(path.stat().st_size for path in sound.glob("*.tar"))


def test_several_processes_find_what_one_finds(build: Path) -> None:
    flip(build / "shard-000001.tar", 700)
    seen: list[tuple[int, int, int]] = []
    result = verify_build(build, workers=2, observe=lambda *state: seen.append(state))
    assert result == verify_build(build, workers=1)
    assert [state[:2] for state in seen] == [(1, 2), (2, 2)]


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    ["run.json", "build.json", "tail.json", *(f"{table}.parquet" for table in TABLES), *SHARD_FILES],
)
def test_every_flipped_byte_is_found_and_its_file_named(build: Path, name: str) -> None:
    """Flip bits at the ends and at random places, one at a time; each is found, and the file named."""
    path = build / name
    generator = np.random.default_rng(sum(name.encode()))
    size, content = path.stat().st_size, path.read_bytes()
    for at in [0, size - 1, *generator.integers(0, size, FLIPS_PER_FILE).tolist()]:
        flip(path, at, int(generator.integers(8)))
        problems = verify_build(build, workers=1).problems
        assert any(problem.file == name for problem in problems), at
        path.write_bytes(content)
    assert not verify_build(build, workers=1).problems


def test_a_flipped_byte_of_a_shard_is_placed(build: Path) -> None:
    index = pl.read_parquet(build / "index.parquet")
    second = index.row(1, named=True)
    flip(build / "shard-000000.tar", second["offset"] + 600)
    problems = verify_build(build, workers=1).problems
    assert {problem.file for problem in problems} == {"shard-000000.tar"}
    assert (problems[0].sample_id, problems[0].offset) == ("b", second["offset"])
    assert "sha256" in problems[0].what
    assert "restore the file from a copy" in str(problems[0])


@pytest.mark.parametrize("name", ["run.json", "index.parquet", "shard-000001.tar", "shard-000001.json"])
@pytest.mark.parametrize("harm", ["cut", "gone", "longer", "empty"])
def test_a_file_that_is_cut_gone_or_longer_is_named(build: Path, name: str, harm: str) -> None:
    path = build / name
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-600], "longer": content + b"\0", "empty": b""}[harm])
    assert name in problems_of(build)


def test_a_shard_of_another_build_differs_from_the_tables(build: Path, tmp_path: Path) -> None:
    """Shard, parts, manifest and run.json agree with one another; the tables have the true samples."""
    other = write_build(tmp_path / "other", [a_sample(name, count=12) for name in ("a", "b")], a_shard=2)
    for kind in ("tar", "json", "samples.parquet", "frames.parquet"):
        shutil.copy(other / f"shard-000000.{kind}", build)
    assert "shard-000000.json: it does not have the sha256 of run.json" in problems_of(build)
    rewrite_run(build)
    text = problems_of(build)
    assert "index.parquet, sample 'a': row 1, length:" in text
    assert "samples.parquet, sample 'a': row 1, candidates: 10, expected 12" in text
    assert "sha256" not in text.replace("row 1, sha256", "")


def change_manifest(build: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of the first shard, under a run.json that agrees with it."""
    path = build / "shard-000000.json"
    body = json.loads(path.read_text())
    change(body)
    write_json(path, body)
    rewrite_run(build)


def test_samples_under_each_others_ids_are_found(build: Path) -> None:
    def swap(body: dict[str, Any]) -> None:
        first, second = body["samples"]
        first["sample_id"], second["sample_id"] = second["sample_id"], first["sample_id"]

    change_manifest(build, swap)
    text = problems_of(build)
    assert "index.parquet, sample 'b': row 1, sample_id: 'a', expected 'b'" in text


@pytest.mark.parametrize("key", ["shard", "settings", "sha256", "size_bytes"])
def test_a_manifest_that_describes_another_shard_is_found(build: Path, key: str) -> None:
    other = {"shard": "shard-000005.tar", "size_bytes": 7}
    change_manifest(build, lambda body: body.update({key: other.get(key, "0")}))
    assert "shard-000000." in problems_of(build)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("frames", "score", pl.lit(7.0, pl.Float32)),
        ("frames", "z", pl.col("z") + 1e-3),
        ("frames", "variants", pl.lit([0], pl.List(pl.Int32))),
        ("samples", "answer", pl.lit("A")),
    ],
)
def test_a_table_that_differs_in_one_value_is_found(
    build: Path, table: str, column: str, value: pl.Expr
) -> None:
    name, row = f"{table}.parquet", 1 if table == "samples" else 13
    changed = pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(pl.col(column)).alias(column)
    pl.read_parquet(build / name).with_columns(changed).write_parquet(build / name)
    rewrite_run(build)
    (problem,) = verify_build(build, workers=1).problems
    assert (problem.file, problem.what.partition(":")[0]) == (name, f"row {row + 1}, {column}")


def test_other_processors_may_round_computed_columns(build: Path) -> None:
    rounded = pl.read_parquet(build / "frames.parquet").with_columns(pl.col("z") + 1e-12)
    rounded.write_parquet(build / "frames.parquet")
    rewrite_run(build)
    assert problems_of(build) == ""


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("harm", ["a row more", "a row less", "another column", "no table"])
def test_a_table_of_another_shape_is_found(build: Path, table: str, harm: str) -> None:
    path = build / f"{table}.parquet"
    rows = pl.read_parquet(path)
    if harm == "a row more":
        pl.concat([rows, rows.tail(1)]).write_parquet(path)
    elif harm == "a row less":
        rows[:-1].write_parquet(path)
    elif harm == "another column":
        rows.rename({"sample_id": "id"}).write_parquet(path)
    else:
        path.write_bytes(b"PAR1")
    rewrite_run(build)
    assert problems_of(build)


def test_failures_and_counts_must_agree(build: Path) -> None:
    pl.read_parquet(build / "failures.parquet").with_columns(
        sample_id=pl.lit("a"), kind=pl.lit("tired"), video=pl.lit("other.mp4")
    ).write_parquet(build / "failures.parquet")
    counts = json.loads((build / "run.json").read_text())["counts"]
    rewrite_run(build, counts={**counts, "samples": 4, "failures": 2})
    text = problems_of(build)
    for part in ("counts 4 samples, but there are 3", "counts 2 failures, but there are 1"):
        assert f"run.json: {part}" in text
    assert "failures.parquet, sample 'a': it is also a sample" in text
    assert "failures.parquet, sample 'a': neither a manifest nor tail.json records" in text


def test_older_builds_count_tried_videos_as_videos(build: Path) -> None:
    counts = json.loads((build / "run.json").read_text())["counts"]
    tried = counts.pop("tried_videos")
    rewrite_run(build, counts=counts)
    assert "run.json: counts 1 videos, but there are 2" in problems_of(build)
    rewrite_run(build, counts=counts | {"videos": tried})
    assert problems_of(build) == ""


def test_settings_are_those_of_the_shards(build: Path) -> None:
    settings = json.loads((build / "run.json").read_text())["settings"]
    settings["sampler"]["seed"] = 5
    rewrite_run(build, settings=settings)
    assert "settings_fingerprint" in problems_of(build)
    rewrite_run(
        build, settings=settings, settings_fingerprint=fingerprint(load(BuildSettings, options=settings))
    )
    assert "shard-000001.json: settings fingerprint" in problems_of(build)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"schema_version": 0}', b'{"schema_version": 1, "settings": 3}', b"[" * 9999, b"\xff"],
)
def test_a_record_that_cannot_be_used_is_the_one_problem(build: Path, content: bytes) -> None:
    (build / "run.json").write_bytes(content)
    (problem,) = verify_build(build, workers=1).problems
    assert problem.file == "run.json"


def test_a_second_row_of_a_sample_is_a_failure_of_its_own(tmp_path: Path) -> None:
    again = a_failure("a", FailureKind.DUPLICATE_ID, stage="annotation")
    assert problems_of(write_build(tmp_path / "b", [a_sample("a")], failures=[again])) == ""


@pytest.mark.parametrize("name", ["shard-000002.tar", "shard-000007.json"])
def test_shards_that_the_record_does_not_list_are_named_and_other_files_accepted(
    build: Path, name: str
) -> None:
    for accepted in ("report.html", "rows.csv", "folder"):
        (build / accepted).mkdir()
    assert problems_of(build) == ""
    (build / name).write_bytes(b"x")
    assert f"{name}: " in problems_of(build)
    assert "remove it" in problems_of(build)


@pytest.mark.parametrize("name", ["shard-000000.json", "shard-000000.samples.parquet", "shard-000000.tar"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(build: Path, name: str) -> None:
    (build / name).unlink()
    os.mkfifo(build / name)
    assert name in problems_of(build)


def test_a_folder_without_a_build_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        verify_build(tmp_path / "none")
    with pytest.raises(UsageError, match=r"holds no build"):
        verify_build(tmp_path)
    (tmp_path / "build.json").touch()
    assert problems_of(tmp_path).startswith("run.json: ")


def test_samples_of_all_settings_are_sound(tmp_path: Path) -> None:
    settings = build_settings(frames="all")
    assert problems_of(write_build(tmp_path / "b", [a_sample(frames="all")], settings=settings)) == ""


def test_a_problem_names_file_sample_byte_and_remedy() -> None:
    problem = Problem(file="a.tar", what="cut off", sample_id="q 1", offset=512)
    assert str(problem) == f"a.tar, sample 'q 1', byte 512: cut off; {problem.remedy}"
    assert str(Problem(file="x", what="gone", offset=0)).startswith("x, byte 0: gone; ")
