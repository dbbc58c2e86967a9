"""An evaluation on real files: decoded, answered, scored; stopped and continued; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.build.pipeline import build
from strive_data.config import SamplerSettings
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.engines.local import LocalEngine
from strive_data.errors import SettingsError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import PolicySettings
from strive_rl.eval.answer_log import VideoBatch, order_of, pending_of, video_batches_of
from strive_rl.eval.config import BenchmarkSettings, EvalSettings
from strive_rl.eval.on_benchmark import (
    Task,
    benchmark_table,
    evaluate_benchmark,
    frame_settings,
)
from strive_rl.eval.on_shards import evaluate
from tests.strive_data.made.engine import Notes
from tests.strive_data.made.samples import a_question
from tests.strive_rl.eval.made_benchmark import QUICK, make_benchmark, with_samplers


def jobs(*counts: int) -> list[VideoJob]:
    """Videos with that many questions; a question is named video.number."""
    made, row = [], 0
    for video, count in enumerate(counts):
        rows = []
        for number in range(count):
            rows.append((row, a_question(f"{video}.{number}", video=f"{video}.mp4")))
            row += 1
        made.append(VideoJob(name=f"{video}.mp4", path=Path(f"{video}.mp4"), rows=tuple(rows)))
    return made


def ids(video_batches: list[VideoBatch]) -> list[list[list[str]]]:
    return [
        [[q.sample_id for _, q in batch] for batch in video_batch.batches] for video_batch in video_batches
    ]


def test_videos_are_whole_and_batches_full_by_hand() -> None:
    assert ids(video_batches_of(jobs(1, 2, 1, 5, 1), 3)) == [
        [["0.0", "1.0", "1.1"]],
        [["2.0", "3.0", "3.1"], ["3.2", "3.3", "3.4"]],
        [["4.0"]],
    ]
    assert video_batches_of([], 3) == []


@given(counts=st.lists(st.integers(1, 7), max_size=12), size=st.integers(1, 5), ranks=st.integers(1, 4))
def test_each_question_is_one_processes_and_its_batch_does_not_depend_on_how_many_there_are(
    counts: list[int], size: int, ranks: int
) -> None:
    video_batches = video_batches_of(jobs(*counts), size)
    shares = [video_batches[rank::ranks] for rank in range(ranks)]
    every = sorted(i for mine in shares for video_batch in ids(mine) for batch in video_batch for i in batch)
    assert every == sorted(
        f"{video}.{number}" for video, count in enumerate(counts) for number in range(count)
    )
    videos = [{job.name for video_batch in mine for job in video_batch.jobs} for mine in shares]
    assert sum(map(len, videos)) == len(counts)
    assert all(len(batch) <= size for video_batch in ids(video_batches) for batch in video_batch)
    whole = [batch for video_batch in ids(video_batches) for batch in video_batch]
    assert all(batch in whole for mine in shares for video_batch in ids(mine) for batch in video_batch)


def test_lines_stand_batch_by_batch_and_in_it_sampler_by_sampler() -> None:
    order = order_of(video_batches_of(jobs(2, 1), 2), ("uniform", "peaks"))
    assert list(order) == [
        ("0.0", "uniform"),
        ("0.1", "uniform"),
        ("0.0", "peaks"),
        ("0.1", "peaks"),
        ("1.0", "uniform"),
        ("1.0", "peaks"),
    ]


def test_what_is_left_are_whole_batches_and_whole_videos() -> None:
    video_batches = video_batches_of(jobs(2, 5), 3)
    done = dict.fromkeys([("0.0", "u"), ("0.1", "u"), ("1.0", "u"), ("1.0", "p")], True)
    _, batches = pending_of(video_batches, ("u", "p"), done)
    assert [[q.sample_id for _, q in batch] for batch, _ in batches] == [
        ["0.0", "0.1", "1.0"],
        ["1.1", "1.2", "1.3"],
        ["1.4"],
    ]
    assert [samplers for _, samplers in batches] == [["p"], ["u", "p"], ["u", "p"]]
    first = dict.fromkeys([(i, s) for i in ("0.0", "0.1", "1.0", "1.1", "1.2", "1.3") for s in "up"], True)
    left, _ = pending_of(video_batches, ("u", "p"), first)
    assert [job.name for job in left] == ["1.mp4"]
    assert len(left[0].rows) == 5
    assert pending_of(video_batches, ("u",), order_of(video_batches, ("u",))) == ([], [])


def test_uniform_frames_need_no_image_model_and_keep_no_other_frames() -> None:
    settings = frame_settings(BenchmarkSettings())
    assert (settings.score.scorer, settings.sampler.name, settings.sampler.frames) == ("flat", "uniform", 32)
    assert (settings.shard.frames, settings.decode.candidates) == ("sampled", 128)
    beside = PolicySettings(frame_pairs="neighbours")
    assert frame_settings(BenchmarkSettings(policy=beside)).shard.frames == "all"


def test_another_sampler_has_the_scorer_and_all_frames() -> None:
    settings = BenchmarkSettings(samplers=("uniform", "topk"))
    made = frame_settings(settings)
    assert (made.score, made.shard.frames, made.shard.embeds) == (settings.score, "all", False)
    grouped = frame_settings(replace(settings, sampler=SamplerSettings(grouping="semantic")))
    assert grouped.shard.embeds


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Task:
    return make_benchmark(tmp_path_factory.mktemp("benchmark") / "root", tiny_folder, absent=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def done(task: Task, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    evaluate_benchmark(out, task=replace(task, cache=cache))
    return out


def test_what_is_written(done: Path) -> None:
    results = jsonl.read_json(done / "results.json")
    lines = jsonl.read(done / "predictions.jsonl")
    assert [line["sample_id"] for line in lines] == [f"{v:03d}-{n}" for v in range(3) for n in range(3)]
    assert all(len(line["times"]) == 4 and line["sampler"] == "uniform" for line in lines)
    failures = jsonl.read(done / "failures.jsonl")
    assert [(line["sample_id"], line["kind"]) for line in failures] == [
        (f"003-{n}", "missing") for n in range(3)
    ]
    assert results["failures"] == {"missing": 3}
    column = results["columns"]["uniform"]
    assert column["counts"] | {"questions": 12, "answered": 9, "missing": 3} == column["counts"]
    official = [line["score"] for line in lines if line["score"] is not None]
    assert column["overall"]["official"]["questions"] == len(official) + 3  # and the three without a video
    assert column["overall"]["official"]["mean"] == pytest.approx(sum(official) / (len(official) + 3))
    assert column["left_out"].get("official", 0) == 9 - len(official)
    assert column["overall"]["robust"]["questions"] == 12
    assert {path.name for path in (done / "uniform").iterdir()} >= {
        "results.json",
        "scored.jsonl",
        "page.html",
    }
    shown = benchmark_table(results)
    assert "uniform frames\n" in shown
    assert "questions without an answer: 3 missing (failures.jsonl); they count as wrong" in shown


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each video that was read, whether it came from the cache: what did not was decoded."""
    seen: list[bool] = []
    run = LocalEngine.run

    def watched(engine: LocalEngine, jobs: Any) -> Generator[VideoResult, None, None]:
        for video in run(engine, jobs):
            seen.append(video.from_cache)
            yield video

    monkeypatch.setattr(LocalEngine, "run", watched)
    return seen


def test_a_second_evaluation_decodes_nothing(
    task: Task, done: Path, cache: Path, tmp_path: Path, kept: list[bool]
) -> None:
    for folder, expected in ((cache, [True] * 3), (tmp_path / "fresh", [False] * 3)):
        kept.clear()
        out = tmp_path / folder.name
        evaluate_benchmark(out, task=replace(task, cache=folder))
        assert kept == expected
        assert (out / "predictions.jsonl").read_bytes() == (done / "predictions.jsonl").read_bytes()


def test_a_vote_stands_beside_its_control_and_resumes_to_the_same_bytes(
    task: Task, done: Path, cache: Path, tmp_path: Path
) -> None:
    settings = replace(QUICK, variants=2, vote=True, controls=("single",))
    task = replace(task, settings=settings, cache=cache)
    out = tmp_path / "out"
    results = evaluate_benchmark(out, task=task)
    lines = jsonl.read(out / "predictions.jsonl")
    voted, single = (
        [line for line in lines if line["sampler"] == name] for name in ("uniform", "uniform-single")
    )
    assert [line | {"sampler": "uniform"} for line in single] == jsonl.read(done / "predictions.jsonl")
    assert [view["frames"] for view in voted[0]["views"]] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert all(line["output"] == line["outputs"][line["elected"]] for line in voted)
    assert [(c["prompts"], c["completions"]) for c in results["votes"].values()] == [(18, 18), (9, 9)]
    assert results["columns"]["uniform"]["counts"]["answered"] == 9
    assert results["vote_gains"]["uniform-single"]["readings"]["robust"]["difference"]["questions"] == 12
    shown = benchmark_table(results)
    assert "vote − uniform-single, of the same model, at inference: not a gain of training" in shown
    with pytest.raises(UsageError, match="already holds results"):
        evaluate_benchmark(out, task=task)
    # As if it had been killed in the middle of a line.
    file, seen = out / "predictions.jsonl", []
    whole, lost = file.read_bytes(), (out / "failures.jsonl").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    (out / "results.json").unlink()
    with pytest.raises(UsageError, match="max_new_tokens: 4, now 5"):
        evaluate_benchmark(out, task=replace(task, settings=replace(settings, max_new_tokens=5)))
    again = evaluate_benchmark(out, task=task, observe=lambda *pair: seen.append(pair))
    assert (seen[0], seen[-1]) == ((2, 10), (10, 10))
    assert (file.read_bytes(), (out / "failures.jsonl").read_bytes()) == (whole, lost)
    assert again["columns"] == results["columns"]
    with pytest.raises(UsageError, match="topk chooses the same frames for each of 2 variants"):
        evaluate_benchmark(out, task=replace(task, settings=replace(settings, samplers=("topk",))))


def test_importance_stands_beside_uniform_with_its_gain(
    task: Task, done: Path, cache: Path, tmp_path: Path
) -> None:
    task = replace(task, settings=with_samplers(QUICK, "uniform", "topk"), cache=cache)
    results = evaluate_benchmark(tmp_path / "out", task=task, baseline=done)
    assert list(results["columns"]) == ["uniform", "topk"]
    lines = jsonl.read(tmp_path / "out" / "predictions.jsonl")
    uniform = [line for line in lines if line["sampler"] == "uniform"]
    assert uniform == jsonl.read(done / "predictions.jsonl")
    overall = [results["columns"][name]["overall"]["robust"]["mean"] for name in ("uniform", "topk")]
    gain = results["gains"]["topk"]["readings"]["robust"]["difference"]["mean"]
    assert gain == pytest.approx(overall[1] - overall[0])
    assert "topk − uniform frames, of the same model" in benchmark_table(results)
    assert list(results["baseline"]) == ["uniform"]
    assert results["baseline"]["uniform"]["overall"]["difference"]["mean"] == 0
    assert results["baseline"]["uniform"]["readings"]["robust"]["difference"]["questions"] == 12
    alone = replace(task, settings=with_samplers(QUICK, "topk"))
    with pytest.raises(UsageError, match=r"baseline .*: it holds uniform, expected one of topk"):
        evaluate_benchmark(tmp_path / "o", task=alone, baseline=done)


def test_the_frames_and_the_cache_of_a_build(
    task: Task, done: Path, tmp_path: Path, kept: list[bool]
) -> None:
    """A build with an image model fills the cache; uniform frames then decode nothing, and evaluating on the
    shards gives the same outputs."""
    cache, shards = tmp_path / "cache", tmp_path / "shards"
    build(
        task.annotations,
        data_root=task.data_root,
        out=shards,
        settings=frame_settings(with_samplers(QUICK, "uniform", "peaks")),
        observer=Notes(),
        workers=1,
        cache=cache,
    )
    kept.clear()  # those of the build
    evaluate_benchmark(tmp_path / "b", task=replace(task, cache=cache))
    assert kept == [True] * 3
    assert (tmp_path / "b" / "predictions.jsonl").read_bytes() == (done / "predictions.jsonl").read_bytes()
    plain = EvalSettings(
        policy=QUICK.policy,
        samplers=("uniform",),
        max_new_tokens=QUICK.max_new_tokens,
        bootstrap_resamples=50,
    )
    evaluate(tmp_path / "s", shards=ShardSet.open(str(shards)), model=task.model, settings=plain)
    pairs = [
        {
            (line["sample_id"], line["output"], tuple(line["times"]))
            for line in jsonl.read(folder / "predictions.jsonl")
        }
        for folder in (tmp_path / "s", done)
    ]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 9


def test_wrong_input_is_reported_before_a_model_is_loaded(task: Task, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lost = replace(task, model="/no/such/model")

    def refused(error: str, of: type[UsageError] = UsageError, **changes: Any) -> None:
        with pytest.raises(of, match=error):
            evaluate_benchmark(out, task=replace(lost, **changes))

    refused(
        "unknown sampler 'topq', did you mean 'topk'", SettingsError, settings=with_samplers(QUICK, "topq")
    )
    refused("no such folder", data_root=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    refused(
        "none of the videos of 12 questions is there; the first: video 'videos/v0.mp4'",
        data_root=tmp_path / "empty",
    )
    (tmp_path / "rows.json").write_text("[]")
    refused("the list is empty", annotations=(tmp_path / "rows.json",))
    rows = json.loads(task.annotations[0].read_text())
    (tmp_path / "rows.json").write_text(json.dumps([row | {"answer": "Z"} for row in rows]))
    refused(
        "no row of the annotation can be used; the first: rows.json item 1",
        annotations=(tmp_path / "rows.json",),
    )
    assert not out.exists()
    refused("no such folder")
