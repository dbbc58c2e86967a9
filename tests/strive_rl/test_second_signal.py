"""A second Ctrl-C ends any command at once, and the same command then comes to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from strive_data.demo.draw import write_world
from strive_rl.common import jsonl
from strive_rl.common.run_folder import verify
from tests.strive_data.made.typed import code_of
from tests.strive_rl.made.blocked import ENDING, HERE
from tests.strive_rl.made.shards import make_shards

pytestmark = pytest.mark.slow

CPU = ["--set", "policy.device=cpu", "--max-new-tokens", "3"]


def killed_by_two(target: str, call: int, *command: object) -> str:
    """What a command says that gets two signals while it is in the `call`-th call of a function; it must die
    of the second."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.strive_rl.made.blocked", target, str(call), *map(str, command)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that starts the tests in the background has it ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert child.stdout
    lines: list[str] = []

    def read_until(text: str) -> None:
        for line in child.stdout or ():
            lines.append(line)
            if text in line:
                return
        pytest.fail("".join(lines))

    read_until(HERE)
    child.send_signal(signal.SIGINT)
    read_until("again to stop now")
    if "finishing this step" not in lines[-1]:
        read_until(ENDING)
    child.send_signal(signal.SIGINT)
    lines += child.stdout.readlines()
    child.stdout.close()
    assert child.wait() == -signal.SIGINT, "".join(lines)
    return "".join(lines)


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".*"))


@pytest.mark.parametrize(
    "function",
    ["checkpoint:write_manifest", "checkpoint:sync_folder", "trainer:update", "trainer:validate"],
)
def test_training(function: str, tmp_path: Path, tiny_folder: Path) -> None:
    make_shards(tmp_path / "shards")
    make_shards(tmp_path / "heldout", samples=4, answers="A")
    out = tmp_path / "run"
    command = ["train", "--shards", tmp_path / "shards", "--heldout", tmp_path / "heldout", "--eval-every", 1]
    command += ["--model", tiny_folder, "--out", out, "--steps", 2, "--completions", 2, *CPU]
    command += ["--set", "data.questions_per_step=2", "--set", "save_every=1"]
    killed_by_two(f"strive_rl.train.{function}", 2, "strive_rl", *command)
    assert code_of("strive_rl", *command, "--resume") == 0
    assert [record["step"] for record in jsonl.read(out / "metrics.jsonl")] == [1, 2]
    assert verify(out).problems == ()
    assert not hidden(out)


def test_an_evaluation_by_vote(tmp_path: Path, tiny_folder: Path) -> None:
    make_shards(tmp_path / "shards")
    command = [
        "eval",
        "--shards",
        tmp_path / "shards",
        "--model",
        tiny_folder,
        "--out",
        tmp_path / "out",
        *CPU,
    ]
    command += ["--variants", 2, "--vote", "--sampler", "importance", "--set", "policy.prompts_per_pass=2"]
    killed_by_two("strive_rl.eval.on_shards:answer", 2, "strive_rl", *command)
    assert code_of("strive_rl", *command) == 0
    assert len(jsonl.read(tmp_path / "out" / "predictions.jsonl")) == 6
    assert not hidden(tmp_path / "out")


def test_a_study(tmp_path: Path, tiny_folder: Path) -> None:
    make_shards(tmp_path / "shards")
    make_shards(tmp_path / "heldout", samples=4, answers="A")
    (tmp_path / "study.toml").write_text(
        'baseline = "grpo"\nseeds = [0]\n[train]\nsteps = 2\nsave_every = 1\npolicy.device = "cpu"\n'
        "rollout.max_new_tokens = 3\nrollout.completions = 2\ndata.questions_per_step = 2\n"
        '[eval]\nmax_new_tokens = 3\npolicy.device = "cpu"\nsamplers = ["importance"]\n'
        "[arms.grpo]\ndata.variants = 1\n"
    )
    command = ["study", tmp_path / "study.toml", "--shards", tmp_path / "shards", "--model", tiny_folder]
    command += ["--heldout", tmp_path / "heldout", "--out", tmp_path / "out"]
    killed_by_two("strive_rl.train.checkpoint:write_manifest", 2, "strive_rl", *command)
    assert code_of("strive_rl", *command) == 0
    assert (tmp_path / "out" / "study.html").is_file()
    assert not hidden(tmp_path / "out")


def test_a_build(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", videos=3, questions_per_video=2, seed=7)
    small = ["--candidates", 8, "--frames", 4, "--set", "decode.max_pixels=784", "--scorer", "flat"]
    command = ["build", world, "--data-root", world.parent, "--workers", 1, *small]
    out = tmp_path / "out"
    killed_by_two("strive_data.build.pipeline:write_video", 2, "strive_data", *command, "--out", out)
    assert code_of("strive_data", *command, "--out", out) == 0
    assert code_of("strive_data", "verify", out) == 0
    assert not hidden(out)
