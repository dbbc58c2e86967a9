"""The command as it is typed: every benchmark's wrong input in one line, and a kill that costs nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strive_rl import distributed, journal
from strive_rl.benchmark_eval import launch as launching
from strive_rl.benchmark_eval.launch import launch
from strive_rl.benchmark_eval.run import Means
from tests.strive_rl.benchmark_eval.made_benchmark import QUICK, make_benchmark
from tests.strive_rl.test_cli import typed

SMALL = [
    *("--frames", "4", "--workers", "1", "--set", "decode.candidates=8", "--set", "decode.max_pixels=3136"),
    *("--set", "policy.device=cpu", "--set", "policy.prompts_per_pass=2", "--set", "max_new_tokens=4"),
    *("--set", "bootstrap_resamples=50"),
]


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
    while process.poll() is None and len(journal.read(killed / "predictions.jsonl")) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert typed(*command, "--out", killed) == 0
    for name in ("predictions.jsonl", "settings.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    told = capfd.readouterr().out
    before = (killed / "results.json").read_bytes()
    assert typed(*command, "--out", killed) == 0
    assert capfd.readouterr().out == f"{killed}: finished already, nothing to do\n{told}"
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
    assert len(journal.read_json(tmp_path / "two" / "results.json")["seconds"]) == 2


def test_only_the_first_process_speaks(
    tmp_path: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    task = make_benchmark(tmp_path / "root", tiny_folder, videos=1, questions=1)

    def failed(*arguments: object, **named: object) -> dict[str, object]:
        raise distributed.ToldElsewhereError("the first says it")

    monkeypatch.setattr(launching, "evaluate_benchmark", failed)
    code = launch(tmp_path / "out", task=task, settings=QUICK, means=Means(), baseline=None)
    assert (code, capfd.readouterr().out) == (2, "")


def test_wrong_input_is_one_line(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.json").write_text("[]")
    common = ["--model", tiny_folder, "--out", tmp_path / "out"]
    cases = [
        (["--benchmark", "vidomme", "--data-root", tmp_path], "did you mean 'videomme'"),
        (["--benchmark", "videomme"], "give --data-root"),
        (
            ["--shards", "s", "--frames", "4", "--workers", "2"],
            "--shards: --frames, --workers: only for --bench",
        ),
        (
            ["--shards", "s", "--prompt", "direct", "--data-root", "."],
            "--shards: --prompt, --data-root: only",
        ),
        ([], "give --shards (samples of a build), or --benchmark"),
        (["--benchmark", "own", "--data-root", tmp_path], "name its files by --annotations"),
        (
            ["--benchmark", "own", "--data-root", tmp_path, "--annotations", tmp_path / "empty.json"],
            "the list is empty",
        ),
        (["--benchmark", "videomme", "--data-root", tmp_path / "no"], "no such folder"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--frames", "3"], "sampler.frames: got 3"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--answers", "2"], "set temperature too"),
        (["--benchmark", "videomme", "--data-root", tmp_path, "--missing", "skip"], "wrong, exclude"),
    ]
    for extra, message in cases:
        assert typed("eval", *common, *extra) == 2, extra
        shown = capfd.readouterr().err.splitlines()
        assert message in shown[-1], (extra, shown)
    assert not (tmp_path / "out").exists()
