"""The offline stages in their order, on rendered videos with the demo's scorer, and on the real clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.build.pipeline import build
from strive_data.build.summary import BuildSummary
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings, ShardSettings
from strive_data.demo.draw import write_world
from strive_data.errors import SettingsError, UsageError
from strive_data.score.clip import ClipScorer
from strive_data.shards.format import END_OF_ARCHIVE
from strive_data.shards.reader import ShardSet
from tests.strive_data.made.engine import Notes

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=16, max_pixels=784),
    score=ScoreSettings(scorer="demo", batch_size=16),
    sampler=SamplerSettings(frames=4, variants=2),
    shard=ShardSettings(max_samples=5),
)


def run(annotation: Path | Sequence[Path], out: Path, **options: object) -> tuple[BuildSummary, Notes]:
    paths = [annotation] if isinstance(annotation, Path) else list(annotation)
    observer = Notes()
    arguments: dict[str, object] = {"data_root": paths[0].parent, "settings": SETTINGS, "workers": 1}
    summary = build(paths, out=out, observer=observer, **(arguments | options))  # type: ignore[arg-type]
    return summary, observer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"), videos=4, questions_per_video=2, seed=3)


@pytest.fixture(scope="module")
def built(world: Path) -> tuple[Path, BuildSummary, Notes]:
    out = world.parent / "built"
    return (out, *run(world, out))


def test_every_question_becomes_a_sample(world: Path, built: tuple[Path, BuildSummary, Notes]) -> None:
    out, summary, observer = built
    held = [summary.counts[name] for name in ("samples", "videos", "shards")]
    assert (held, summary.failures) == ([8, 4, 2], ())
    counts = observer.done[-1]
    assert (counts.videos_total, counts.questions_total, counts.videos, counts.questions) == (4, 8, 4, 8)
    # The last shard is committed behind the last video.
    assert (counts.frames, counts.shards) == (4 * 16, 1)
    sizes = [tar.stat().st_size - len(END_OF_ARCHIVE) for tar in out.glob("*.tar")]
    assert counts.written_bytes == sum(sizes)
    assert observer.notes[0].startswith(f"{world.as_posix()}: recipe ")  # before the first video
    assert observer.end.shards == 2
    assert observer.end.written_bytes == sum(tar.stat().st_size for tar in out.glob("*.tar"))
    assert min(counts.watch.seconds[stage] for stage in ("decode", "model", "encode")) > 0
    shards = ShardSet.open(out)
    rows = [question for _, question in read_annotations([world], world.parent).questions]
    assert [shards.read(i).meta.question for i in range(8)] == rows


def test_files_are_those_of_the_contract_and_nothing_else(built: tuple[Path, BuildSummary, Notes]) -> None:
    names = sorted(path.name for path in built[0].iterdir())
    shards = [f"shard-00000{i}.{kind}" for i in range(2) for kind in ("json", "tar")]
    tables = ["failures.parquet", "frames.parquet", "index.parquet", "run.json", "samples.parquet"]
    parts = [f"shard-00000{i}.{table}.parquet" for i in range(2) for table in ("frames", "samples")]
    assert names == sorted([*tables, *shards, *parts, "build.json", "videos.json"])
    run = json.loads((built[0] / "run.json").read_text())
    sizes = [(built[0] / f"shard-00000{i}.tar").stat().st_size for i in range(2)]
    stored = pl.read_parquet(built[0] / "samples.parquet")["stored"].sum()
    counted = {"samples": 8, "videos": 4, "tried_videos": 4, "shards": 2, "failures": 0}
    assert run["counts"] == counted | {"candidates": 8 * 16, "frames": stored, "bytes": sum(sizes)}
    assert run["failures_by_kind"] == {}
    assert min(run["stage_seconds"].values()) > 0
    unlisted = {"run.json", "videos.json", "shard-000000.tar", "shard-000001.tar"}
    assert run["files"].keys() == set(names) - unlisted
    assert run["settings"]["sampler"]["frames"] == 4


def test_tables_agree_with_shards(built: tuple[Path, BuildSummary, Notes]) -> None:
    shards = ShardSet.open(built[0])
    frames = pl.read_parquet(built[0] / "frames.parquet")
    for i in range(len(shards)):
        sample = shards.read(i)
        rows = frames.filter(pl.col("sample_id") == sample.meta.question.sample_id)
        np.testing.assert_array_equal(rows["score"].to_numpy(), sample.scores)
        np.testing.assert_array_equal(rows["time"].to_numpy(), sample.times)
        taken = rows.filter(pl.col("variants").list.contains(1))["candidate"].to_list()
        assert taken == sample.variants[1].tolist()


def test_equal_input_gives_equal_bytes_whatever_the_workers(
    world: Path, built: tuple[Path, BuildSummary, Notes]
) -> None:
    again = world.parent / "again"
    run(world, again, workers=2)
    for path in built[0].iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    one, two = (json.loads((folder / "run.json").read_text()) for folder in (built[0], again))
    changing = {"seconds": 0, "stage_seconds": 0, "sha256": ""}
    assert one | changing == two | changing


def test_a_bad_row_and_a_bad_video_cost_no_other_sample(
    world: Path, built: tuple[Path, BuildSummary, Notes], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((world.parent / "videos" / "world3-0000.mp4").read_bytes()[:700])
    (world.parent / "videos" / "broken.mp4").write_bytes(broken.read_bytes())
    extra = tmp_path / "extra.jsonl"
    row = json.loads(world.read_text().splitlines()[0])
    bad = [row | {"problem_id": "x", "path": "videos/broken.mp4"}, row | {"problem_id": "y", "problem": ""}]
    extra.write_text("".join(json.dumps(r) + "\n" for r in bad))
    out = tmp_path / "out"
    summary, observer = run([world, extra], out)
    assert (summary.counts["samples"], observer.end.failures.total()) == (8, 1)
    # Regression: the broken video was counted among those of the samples.
    assert (summary.counts["videos"], summary.counts["tried_videos"]) == (4, len(observer.done)) == (4, 5)
    failures = pl.read_parquet(out / "failures.parquet")
    assert failures.select("sample_id", "stage").rows() == [("x", "decode"), ("y", "annotation")]
    assert (out / "shard-000000.tar").read_bytes() == (built[0] / "shard-000000.tar").read_bytes()


def files_of(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which holds seconds and the hash of the annotation's path."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_new_questions_on_kept_videos_cost_no_decoding_and_no_image_model(
    world: Path, built: tuple[Path, BuildSummary, Notes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    filled, _ = run(world, tmp_path / "filled", cache=cache)
    assert (filled.cached_videos, filled.damaged_entries) == (0, ())
    assert files_of(tmp_path / "filled") == files_of(built[0])
    rows = [json.loads(line) for line in world.read_text().splitlines()]
    new = world.with_name("new.jsonl")
    new.write_text(
        "".join(
            json.dumps(row | {"problem": f"New: {row['problem']}", "problem_id": f"n{i}"}) + "\n"
            for i, row in enumerate(rows)
        )
    )
    run(new, tmp_path / "plain")

    def no_image(*_: object) -> None:
        raise RuntimeError("the image model was run")

    monkeypatch.setattr(ClipScorer, "_embed_batch", no_image)
    again, _ = run(new, tmp_path / "again", cache=cache)
    assert again.cached_videos == again.counts["videos"] == 4  # a kept video has no pixels to decode
    assert files_of(tmp_path / "again") == files_of(tmp_path / "plain")
    other = replace(SETTINGS, decode=DecodeSettings(candidates=8))
    with pytest.raises(RuntimeError, match="the image model was run"):  # negative control
        run(new, tmp_path / "control", settings=other, cache=cache)


def test_a_damaged_entry_is_named_and_made_again(
    world: Path, built: tuple[Path, BuildSummary, Notes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run(world, tmp_path / "one", cache=cache)
    entry = sorted(cache.rglob("*.npz"))[1]
    content = entry.read_bytes()
    entry.write_bytes(content[:2000] + b"?" + content[2001:])
    second, _ = run(world, tmp_path / "two", cache=cache)
    assert (second.cached_videos, second.damaged_entries) == (3, (entry,))
    assert files_of(tmp_path / "two") == files_of(built[0])
    third, _ = run(world, tmp_path / "three", cache=cache)
    assert (third.cached_videos, third.damaged_entries) == (4, ())


def test_grouping_and_stored_embeddings_reach_tables_and_shards(world: Path, tmp_path: Path) -> None:
    sampler = SamplerSettings(frames=4, variants=2, grouping="semantic")
    settings = replace(SETTINGS, sampler=sampler, shard=ShardSettings(embeds=True))
    run(world, tmp_path / "out", settings=settings)
    frames = pl.read_parquet(tmp_path / "out" / "frames.parquet")
    assert frames["cluster"].null_count() == 0
    assert frames.group_by("sample_id").agg(pl.col("cluster").n_unique())["cluster"].to_list() == [2] * 8
    embeds = ShardSet.open(tmp_path / "out").read(0).embeds
    assert embeds.shape == (16, 64)
    assert np.linalg.norm(embeds.astype(float), axis=1) == pytest.approx(np.ones(16), abs=1e-3)


def test_unusable_folders_are_refused_before_any_work(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data-root .*: no such folder"):
        run(world, tmp_path / "out", data_root=tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not an empty folder"):
        run(world, tmp_path)
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        run(world, tmp_path / "file")


def test_a_finished_build_is_left_alone(world: Path, built: tuple[Path, BuildSummary, Notes]) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in built[0].iterdir()}
    summary, observer = run(world, built[0])
    assert (summary.unchanged, summary.counts["samples"], summary.resumed) == (True, 8, 8)
    assert observer.done == []
    assert before == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in built[0].iterdir()}


def test_an_unknown_engine_is_refused_where_nothing_is_left_to_do_too(
    world: Path, built: tuple[Path, BuildSummary, Notes]
) -> None:
    with pytest.raises(SettingsError, match="unknown engine 'lokal', did you mean 'local'"):
        run(world, built[0], engine="lokal")


def test_no_usable_row_is_an_error_but_leaves_its_reasons(world: Path, tmp_path: Path) -> None:
    annotation = tmp_path / "a.jsonl"
    annotation.write_text('{"problem_id": 1, "path": "x.mp4"}\n')
    with pytest.raises(UsageError, match=r"none of 1 rows [^\n]*\n  1 bad_row, for example "):
        run(annotation, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "failures.parquet").height == 1


REAL = BuildSettings(
    decode=DecodeSettings(candidates=64),
    score=ScoreSettings(scorer="demo"),
    sampler=SamplerSettings(frames=8),
)


@pytest.mark.slow
def test_all_real_questions_are_built_and_every_bad_row_has_its_reason(
    shared_data: Path, tmp_path: Path
) -> None:
    files = [shared_data / "questions.jsonl", shared_data / "bad_rows.jsonl"]
    summary, _ = run(files, tmp_path / "out", settings=REAL, workers=2)
    assert [summary.counts[name] for name in ("samples", "videos", "tried_videos")] == [26, 11, 12]
    failures = pl.read_parquet(tmp_path / "out" / "failures.parquet")
    kinds = ["missing", "no_moov", *["bad_row"] * 4, "duplicate_id", "outside_root"]
    assert failures.select("row", "kind").rows() == list(enumerate(kinds, 26))
    assert failures["message"].n_unique() == 8
    frames = pl.read_parquet(tmp_path / "out" / "frames.parquet")
    ordered = frames.group_by("sample_id", maintain_order=True).agg(pl.col("time").diff().drop_nulls().min())
    assert ordered["time"].min() > 0  # type: ignore[operator]
