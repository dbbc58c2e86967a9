"""A run as it is typed: stopped by a real signal it is saved, and resumes to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl, run_folder
from strive_rl.common.model_folder import load_state
from strive_rl.common.preflight import locked
from strive_rl.train.launch import launch
from strive_rl.train.state import open_run
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.made.two_processes import COMMON, settings
from tests.strive_rl.train.conftest import records

pytestmark = pytest.mark.slow

ENDLESS = 100_000


def started(folder: Path, model: Path, *python: str) -> subprocess.Popen[str]:
    """A run without end into folder/run, once it has taken a step."""
    arguments = ["train", "--shards", folder / "shards", "--model", model, "--out", folder / "run"]
    assignments = (*COMMON, f"steps={ENDLESS}", f"save_every={ENDLESS}")
    changes = [part for assignment in assignments for part in ("--set", assignment)]
    child = subprocess.Popen(
        [sys.executable, *python, "-m", "strive_rl", *map(str, arguments), *changes],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not jsonl.read(folder / "run" / "metrics.jsonl"):
        assert child.poll() is None, child.communicate()[0]
        time.sleep(0.1)
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_resumes_bit_for_bit(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    make_shards(tmp_path / "shards")
    child = started(tmp_path, tiny_folder)
    with pytest.raises(UsageError, match="another process is writing there"), locked(tmp_path / "run"):
        pass
    child.send_signal(number)
    said = child.communicate(timeout=120)[0]
    assert child.returncode == 128 + number
    saved = run_folder.latest(tmp_path / "run")
    assert saved
    steps = int(saved.name.removeprefix(run_folder.PREFIX))
    last = said.splitlines()[-1]
    assert last == (
        f"stopped by {number.name} after step {steps}; to resume, give the same command with --resume"
    )
    for out, resume in (("run", True), ("whole", False)):
        given = settings("plain", f"steps={steps + 1}")
        shards = [ShardSet.open(str(tmp_path / "shards"))]
        make = partial(open_run, tmp_path / out, shards=shards, model=str(tiny_folder), resume=resume)
        launch(partial(make, settings=given), given)
    assert f"the model after step {steps + 1};" in capfd.readouterr().out
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    folders = [run_folder.latest(tmp_path / name) for name in ("run", "whole")]
    states = [load_state(folder)["optimizer"]["adamw"]["state"] for folder in folders if folder]
    assert states[0].keys() == states[1].keys()
    for i, kinds in states[0].items():
        assert all(torch.equal(each, states[1][i][kind]) for kind, each in kinds.items())


def test_a_signal_to_one_process_of_two_ends_both_with_a_checkpoint(
    tmp_path: Path, tiny_folder: Path
) -> None:
    make_shards(tmp_path / "shards")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    child = started(tmp_path, tiny_folder, *torchrun)
    workers = psutil.Process(child.pid).children()
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGTERM)
    said = child.communicate(timeout=120)[0]
    assert child.returncode != 0
    assert said.count("stopped by SIGTERM after step ") == 1
    saved = run_folder.latest(tmp_path / "run")
    assert saved
    assert load_state(saved)["step"] == len(jsonl.read(tmp_path / "run" / "metrics.jsonl"))
