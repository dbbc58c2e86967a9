"""A damaged build is never taken for a sound one, whichever byte it is that changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.common.files import write_json
from strive_data.errors import FailureKind, UsageError
from strive_data.schema import Failure
from strive_data.verify import verify_build
from tests.strive_data.builds import reseal, write_build
from tests.strive_data.samples import a_sample

FLIPS_PER_FILE = 30
TABLES = ("samples", "frames", "failures", "index")
SHARD_FILES = [f"shard-000000.{kind}" for kind in ("json", "tar", "samples.parquet", "frames.parquet")]
FAILURE = Failure(sample_id="9", row=4, video="v.mp4", stage="decode", kind=FailureKind.CRASH, message="died")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [a_sample(name) for name in ("a", "b", "c.c")]
    return write_build(tmp_path_factory.mktemp("verify") / "sound", samples, failures=[FAILURE], a_shard=2)


@pytest.fixture
def build(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "build"))


def said(folder: Path) -> str:
    """All problems of a build, a line each."""
    return "\n".join(map(str, verify_build(folder, workers=1).problems))


def test_a_sound_build_has_no_problem_and_is_counted(sound: Path) -> None:
    verdict = verify_build(sound, workers=1)
    assert verdict.problems == ()
    assert (verdict.shards, verdict.samples) == (2, 3)
    assert verdict.frames == pl.read_parquet(sound / "samples.parquet")["stored"].sum()
    assert verdict.size_bytes == sum(path.stat().st_size for path in sound.glob("*.tar"))


def test_several_processes_say_what_one_says(build: Path) -> None:
    flip(build / "shard-000001.tar", 700)
    seen: list[tuple[int, int, int]] = []
    verdict = verify_build(build, workers=2, observe=lambda *state: seen.append(state))
    assert verdict == verify_build(build, workers=1)
    assert [state[:2] for state in seen] == [(1, 2), (2, 2)]


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["run.json", "build.json", *(f"{table}.parquet" for table in TABLES)])
def test_no_flipped_byte_of_the_records_stays_unseen(build: Path, kind: str) -> None:
    check_flips(build / kind, build)


@pytest.mark.parametrize("kind", ["tail.json", *SHARD_FILES])
def test_no_flipped_byte_of_the_rest_stays_unseen(build: Path, kind: str) -> None:
    check_flips(build / kind, build)


def check_flips(path: Path, folder: Path) -> None:
    """Flip bits at the ends and at random places, one at a time; each is found, and the file named."""
    generator = np.random.default_rng(sum(path.name.encode()))
    size, content = path.stat().st_size, path.read_bytes()
    places = [0, size - 1, *generator.integers(0, size, FLIPS_PER_FILE).tolist()]
    for at in places:
        flip(path, at, int(generator.integers(8)))
        problems = verify_build(folder, workers=1).problems
        assert any(problem.file == path.name for problem in problems), (path.name, at)
        path.write_bytes(content)
    assert not verify_build(folder, workers=1).problems


def test_a_flipped_byte_of_a_shard_is_placed(build: Path) -> None:
    index = pl.read_parquet(build / "index.parquet")
    second = index.row(1, named=True)
    flip(build / "shard-000000.tar", second["offset"] + 600)
    (line, *more) = said(build).splitlines()
    assert f"shard-000000.tar, sample 'b', byte {second['offset']}: " in line
    assert "sha256" in line
    assert "restore the file from a copy" in line
    assert all(other.startswith("shard-000000.tar") for other in more)


@pytest.mark.parametrize("name", ["run.json", "index.parquet", "shard-000001.tar", "shard-000001.json"])
@pytest.mark.parametrize("harm", ["cut", "gone", "longer", "empty"])
def test_a_file_that_is_cut_gone_or_longer_is_named(build: Path, name: str, harm: str) -> None:
    path = build / name
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-600], "longer": content + b"\0", "empty": b""}[harm])
    assert name in said(build)


def test_shards_of_another_build_are_told_from_ones_own(build: Path, tmp_path: Path) -> None:
    """Shard, rows, manifest and run.json agree with one another; the tables remember the true samples."""
    other = write_build(tmp_path / "other", [a_sample(name, count=12) for name in ("a", "b")], a_shard=2)
    for kind in ("tar", "json", "samples.parquet", "frames.parquet"):
        shutil.copy(other / f"shard-000000.{kind}", build)
    assert "shard-000000.json: its bytes do not have the sha256 of run.json" in said(build)
    reseal(build)
    text = said(build)
    assert "index.parquet, sample 'a': row 0, length:" in text
    assert "samples.parquet, sample 'a': row 0, candidates: 10, expected 12" in text
    assert "sha256 of run.json" not in text


def test_a_sample_that_the_manifest_swapped_for_another_is_named(build: Path) -> None:
    body = json.loads((build / "shard-000000.json").read_text())
    first, second = body["samples"]
    first["sample_id"], second["sample_id"] = second["sample_id"], first["sample_id"]
    write_json(build / "shard-000000.json", body)
    reseal(build)
    text = said(build)
    assert "shard-000000.tar, sample 'b', byte 0: json: the sample calls itself 'a'" in text
    assert "index.parquet, sample 'b': row 0, sample_id: 'a', expected 'b'" in text


def test_rows_of_a_shard_are_those_of_the_tables(build: Path) -> None:
    name = "shard-000001.frames.parquet"
    pl.read_parquet(build / name).with_columns(cluster=pl.lit(1, pl.Int32)).write_parquet(build / name)
    reseal(build)
    assert f"{name}: gone, or not of the size and sha256 of shard-000001.json" in said(build)
    body = json.loads((build / "shard-000001.json").read_text())
    content = (build / name).read_bytes()
    body["parts"][name] = {"size_bytes": len(content), "sha256": sha256(content).hexdigest()}
    write_json(build / "shard-000001.json", body)
    reseal(build)
    assert said(build).startswith("frames.parquet, sample 'c.c': row 20, cluster: None, expected 1")


def test_failures_that_no_manifest_tells_and_other_beginnings_are_named(build: Path) -> None:
    (build / "tail.json").unlink()
    body = json.loads((build / "build.json").read_text())
    body["settings"]["decode"]["candidates"] = 7
    write_json(build / "build.json", body)
    reseal(build)
    lines = said(build).splitlines()
    assert lines[0].startswith("build.json: the build began with other settings than run.json says")
    assert lines[1].startswith("failures.parquet, sample '9': no manifest tells of it")


def test_a_beginning_that_cannot_be_read_is_told_in_its_own_words(build: Path) -> None:
    body = json.loads((build / "build.json").read_text())
    body["settings"]["decode"]["candidatez"] = body["settings"]["decode"].pop("candidates")
    write_json(build / "build.json", body)
    reseal(build)
    assert said(build).startswith(
        "build.json: not what a build writes first: unknown setting 'decode.candidatez', did you mean"
    )


def test_settings_are_the_same_everywhere(build: Path) -> None:
    body = json.loads((build / "run.json").read_text())
    body["settings"]["sampler"]["seed"] = 5
    reseal(build, settings=body["settings"])
    text = said(build)
    assert "run.json: settings_fingerprint" in text
    assert "shard-000001.json: settings fingerprint" in text
    assert "shard-000001.tar, sample 'c.c', byte 0: json: the sampler is not that of the build" in text


def test_counts_and_failures_are_checked(build: Path) -> None:
    pl.read_parquet(build / "failures.parquet").with_columns(
        sample_id=pl.lit("a"), kind=pl.lit("tired"), video=pl.lit("other.mp4")
    ).write_parquet(build / "failures.parquet")
    counts = json.loads((build / "run.json").read_text())["counts"]
    reseal(build, counts={**counts, "samples": 4, "failures": 2})
    lines = said(build).splitlines()
    assert "failures.parquet, sample 'a': a sample of the build too" in lines[0]
    assert "failures.parquet, sample 'a': stage 'decode', kind 'tired'" in lines[1]
    assert [line.split("; ")[0] for line in lines[2:]] == [
        "run.json: counts 4 samples, but there are 3",
        "run.json: counts 2 failures, but there are 1",
        "failures.parquet, sample 'a': no manifest tells of it",
    ]


def test_a_second_row_of_a_sample_is_a_failure_of_its_own(tmp_path: Path) -> None:
    again = replace(FAILURE, sample_id="a", kind=FailureKind.DUPLICATE_ID, stage="annotation")
    assert said(write_build(tmp_path / "b", [a_sample("a")], failures=[again])) == ""


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (".shard-000002.tar.tmp", "left by a run that was interrupted"),
        ("shard-000002.tar", "a shard that run.json does not name"),
        ("shard-000007.json", "a shard that run.json does not name"),
        ("more.parquet", "no part of a build"),
        ("folder", "no part of a build"),
    ],
)
def test_stray_files_are_named(build: Path, name: str, what: str) -> None:
    (build / name).mkdir() if name == "folder" else (build / name).write_bytes(b"x")
    assert f"{name}: {what}; remove it" in said(build)


def test_what_people_put_beside_is_let_be(build: Path) -> None:
    for name in ("report.html", "rows.csv", "plot.png", "README.md"):
        (build / name).write_bytes(b"x")
    assert said(build) == ""


def test_a_table_that_differs_by_one_value_is_named(build: Path) -> None:
    def change(table: str, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        edit(pl.read_parquet(build / table)).write_parquet(build / table)

    change("frames.parquet", lambda rows: rows.with_columns(
        score=pl.when(pl.int_range(pl.len()) == 23).then(7.0).otherwise(pl.col("score")).cast(pl.Float32)
    ))  # fmt: skip
    change("samples.parquet", lambda rows: rows.with_columns(answer=pl.lit("A")))
    reseal(build)
    text = said(build)
    assert "frames.parquet, sample 'c.c': row 23, score: 7.0, expected" in text
    assert "samples.parquet, sample 'a': row 0, answer: 'A', expected 'B'" in text
    change("frames.parquet", lambda rows: pl.concat([rows, rows.head(1)]))
    reseal(build)
    assert "score" in said(build)


def test_what_is_no_folder_or_no_build_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        verify_build(tmp_path / "none")
    assert said(tmp_path).startswith("run.json: cannot be read (No such file or directory); it is no build")
