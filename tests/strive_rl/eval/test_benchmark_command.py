"""The command as it is typed: every benchmark's wrong input in one line, and a kill that costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.rules.choices import VIDEOMME
from strive_rl.common import distributed, jsonl
from strive_rl.eval import on_benchmark as launching
from strive_rl.eval.on_benchmark import (
    evaluate_benchmark,
    finished_results,
    launch,
)
from strive_rl.eval.score import (
    gains_over_baseline,
    gains_over_uniform,
    require_baseline,
    score_columns,
)
from tests.strive_rl.eval.made_benchmark import QUICK, make_benchmark, row
from tests.strive_rl.test_cli import typed

BOTH = replace(QUICK, samplers=("uniform", "topk"))


def evaluation(folder: Path, **outputs: str) -> Path:
    """Predictions of four questions on two videos (truths A B B C), scored by sampler."""
    folder.mkdir()
    annotation = folder / "rows.json"
    annotation.write_text(json.dumps([row(video, number) for video in range(2) for number in range(2)]))
    lines = [
        {"sample_id": f"{i // 2:03d}-{i % 2}", "sampler": sampler, "output": output}
        for sampler, answers in outputs.items()
        for i, output in enumerate(answers)
    ]
    jsonl.append(folder / "predictions.jsonl", lines)
    settings = replace(QUICK, samplers=tuple(outputs))
    columns = score_columns(
        folder, benchmark=VIDEOMME, items=read_items([annotation], VIDEOMME), recipe=None, settings=settings
    )
    jsonl.write_json(folder / "results.json", {"columns": columns})
    return folder


def test_each_sampler_is_scored_by_itself_and_its_gain_is_over_uniform(tmp_path: Path) -> None:
    out = evaluation(tmp_path / "out", uniform="AAAA", topk="ABBA")
    held = jsonl.read_json(out / "results.json")["columns"]
    assert [held[name]["overall"]["official"]["mean"] for name in ("uniform", "topk")] == [1 / 4, 3 / 4]
    gains = gains_over_uniform(out, BOTH)
    assert gains["topk"]["overall"]["difference"]["mean"] == pytest.approx(2 / 4)
    assert (gains["topk"]["sign_test"]["won"], gains["topk"]["sign_test"]["lost"]) == (2, 0)
    assert gains_over_uniform(out, replace(QUICK, samplers=("topk",))) == {}


def test_scoring_again_takes_the_place_of_an_earlier_call(tmp_path: Path) -> None:
    out = evaluation(tmp_path / "out", uniform="AAAA")
    again = score_columns(
        out, benchmark=VIDEOMME, items=read_items([out / "rows.json"], VIDEOMME), recipe=None, settings=QUICK
    )
    assert again == jsonl.read_json(out / "results.json")["columns"]
    assert len(jsonl.read(out / "uniform" / "scored.jsonl")) == 4


def test_a_baseline_is_paired_by_sampler(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "before", uniform="AAAA")
    after = evaluation(tmp_path / "after", uniform="ABBA", topk="ABBC")
    gains = gains_over_baseline(before, after, BOTH)
    assert list(gains) == ["uniform"]
    assert gains["uniform"]["overall"]["difference"]["mean"] == pytest.approx(2 / 4)
    require_baseline(before, BOTH)
    with pytest.raises(UsageError, match="it holds uniform, expected one of topk"):
        require_baseline(before, replace(QUICK, samplers=("topk",)))
    with pytest.raises(UsageError, match="no finished evaluation on a benchmark"):
        require_baseline(tmp_path, BOTH)


def test_what_is_finished_is_reported_again_without_its_videos(tmp_path: Path, tiny_folder: Path) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=2, questions=1)
    out = tmp_path / "out"
    assert finished_results(out, task=task) is None
    results = evaluate_benchmark(out, task=task)
    shutil.rmtree(tmp_path / "root" / "videos")
    assert finished_results(out, task=task) == results
    with pytest.raises(UsageError, match=r"settings\.max_new_tokens: 4, now 5"):
        finished_results(out, task=replace(task, settings=replace(QUICK, max_new_tokens=5)))
    with pytest.raises(UsageError, match="bootstrap_resamples: 50, now 60"):
        finished_results(out, task=replace(task, settings=replace(QUICK, bootstrap_resamples=60)))
    shutil.copytree(out, tmp_path / "before")
    gained = finished_results(out, task=task, baseline=tmp_path / "before")
    assert gained["baseline"]["uniform"]["overall"]["difference"]["mean"] == 0
    assert jsonl.read_json(out / "results.json") == gained


SMALL = [
    *("--frames", "4", "--workers", "1", "--set", "decode.candidates=8", "--set", "decode.max_pixels=3136"),
    *("--set", "policy.device=cpu", "--set", "policy.prompts_per_pass=2", "--set", "max_new_tokens=4"),
    *("--set", "bootstrap_resamples=50"),
]


def test_an_own_table_with_named_columns_and_one_video_by_two_names(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Regression: there was no --columns, and "v0" was another video than "v0.mp4" to the bootstrap."""
    make_benchmark(tmp_path / "root", tiny_folder, videos=2, questions=1)
    (tmp_path / "own.csv").write_text(
        "clip,ask,say\nv0,Is it red?,yes\nv0.mp4,And blue?,no\nv1,How many?,2\n"
    )
    command = ["eval", "--benchmark", "own", "--data-root", tmp_path / "root/videos", "--model", tiny_folder]
    command += ["--annotations", tmp_path / "own.csv", "--out", tmp_path / "out", *SMALL]
    assert typed(*command) == 2
    assert "name it with --columns answer=COLUMN" in capfd.readouterr().err
    with (tmp_path / "own.csv").open("a") as file:
        file.write("v1,Why?,\nv1,,yes\nv1,What?,\nv1,Who?,\n")
    command += ["--columns", "video=clip,question=ask,answer=say"]
    assert typed(*command) == 0
    said = capfd.readouterr().err
    assert "columns video=clip, question=ask, answer=say" in said
    assert "4 rows of 7 cannot be used:" in said
    assert "and 1 more: failures.jsonl" in said
    results = jsonl.read_json(tmp_path / "out" / "results.json")
    assert results["columns"]["uniform"]["overall"]["accuracy"]["videos"] == 2
    assert results["columns"]["uniform"]["counts"]["videos"] == 2
    assert typed(*command) == 0
    assert "finished already" in capfd.readouterr().out
    assert typed(*command[:-2]) == 2
    scoring = ["score", tmp_path / "out", "--benchmark", "own", "--out", tmp_path / "scored", *command[-2:]]
    assert typed(*scoring) == 2
    assert "--columns names those of --annotations" in capfd.readouterr().err
    assert typed(*scoring, "--annotations", tmp_path / "own.csv") == 0
    assert jsonl.read_json(tmp_path / "scored" / "results.json")["counts"]["videos"] == 2


@pytest.mark.slow
def test_a_killed_command_goes_on_with_the_same_bytes(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=4, questions=2)
    command = ["eval", "--benchmark", "videomme", "--data-root", task.data_root, "--model", tiny_folder]
    command += ["--annotations", task.annotations[0], *SMALL]
    assert typed(*command, "--out", tmp_path / "whole") == 0
    assert "VideoMME" in capfd.readouterr().out
    killed = tmp_path / "killed"
    program = [sys.executable, "-m", "strive_rl", *map(str, command), "--out", str(killed)]
    process = subprocess.Popen(
        program,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and len(jsonl.read(killed / "predictions.jsonl")) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert typed(*command, "--out", killed) == 0
    for name in ("predictions.jsonl", "settings.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    seen = capfd.readouterr().out
    before = (killed / "results.json").read_bytes()
    assert typed(*command, "--out", killed) == 0
    assert capfd.readouterr().out == f"{killed}: finished already, nothing to do\n{seen}"
    assert (killed / "results.json").read_bytes() == before
    assert typed(*command, "--out", killed, "--missing", "exclude") == 2
    assert "made otherwise (missing: 'wrong', now 'exclude')" in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_end_with_the_bytes_of_one(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=4, questions=2, absent=1)
    command = ["eval", "--benchmark", "videomme", "--data-root", task.data_root, "--model", tiny_folder]
    command += ["--annotations", task.annotations[0], *SMALL]
    assert typed(*command, "--out", tmp_path / "one") == 0
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "strive_rl")
    program = [sys.executable, *torchrun, *map(str, command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    capfd.readouterr()
    subprocess.run([*program, "--out", str(tmp_path / "two")], check=True, env=environment, timeout=300)
    shown = capfd.readouterr().out
    assert shown.count("uniform frames") == 1
    for name in ("predictions.jsonl", "failures.jsonl"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert len(jsonl.read_json(tmp_path / "two" / "results.json")["seconds"]) == 2


def test_only_the_first_process_speaks(
    tmp_path: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=1, questions=1)

    def failed(*arguments: object, **named: object) -> dict[str, object]:
        raise distributed.PeerFailedError("the first says it")

    monkeypatch.setattr(launching, "evaluate_benchmark", failed)
    with pytest.raises(SystemExit) as ended:
        launch(tmp_path / "out", task=task, baseline=None)
    assert (ended.value.code, capfd.readouterr().out) == (2, "")


def test_wrong_input_is_one_line(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.json").write_text("[]")
    common = ["--model", tiny_folder, "--out", tmp_path / "out"]
    cases = [
        (["--benchmark", "vidomme", "--data-root", tmp_path], "did you mean 'videomme'"),
        (["--benchmark", "videomme"], "give --data-root"),
        (["--shards", "s", "--prompt", "direct", "--workers", "2"], "--prompt, --workers: only for --bench"),
        ([], "give --shards (samples of a build), or --benchmark"),
        (["--benchmark", "own", "--data-root", tmp_path], "own: give --annotations"),
        (
            ["--benchmark", "own", "--data-root", tmp_path, "--annotations", tmp_path / "empty.json"],
            "the list is empty",
        ),
        (["--benchmark", "videomme", "--data-root", tmp_path / "no"], "no such folder"),
        (["--shards", "s", "--columns", "video=clip"], "--shards: --columns: only for --benchmark"),
        (["--benchmark", "own", "--data-root", tmp_path, "--columns", "clip"], "expected FIELD=COLUMN pairs"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--frames", "3"], "sampler.frames: got 3"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--completions", "2"], "set temperature too"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--missing", "skip"], "wrong, exclude"),
    ]
    for extra, message in cases:
        assert typed("eval", *common, *extra) == 2, extra
        shown = capfd.readouterr().err.splitlines()
        assert message in shown[-1], (extra, shown)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert typed("eval", *common, "--shards", "s") == 2
    assert "eval --shards runs in one process: start it without torchrun" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
