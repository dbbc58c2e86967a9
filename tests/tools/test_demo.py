"""The whole path as `make demo` runs it, on a world too small to learn from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import Qwen2_5_VLForConditionalGeneration

from tools.demo import commands, record, resumption, steps_done

ROOT = Path(__file__).parents[2]


def test_training_and_held_out_worlds_differ() -> None:
    first, second = commands(Path("x"), videos=10, steps=1, seed=3)[:2]
    assert "--videos 10 --seed 3" in first
    assert "--videos 2 --seed 1000003" in second


def test_the_demo_goes_on_or_refuses_and_deletes_nothing(tmp_path: Path) -> None:
    wanted = {"videos": 4, "steps": 2, "seed": 0}
    out = tmp_path / "demo"
    assert steps_done(out, wanted) == 0
    record(out, wanted, 3)
    (out / "mine.txt").write_text("kept")
    assert steps_done(out, wanted) == 3
    with pytest.raises(SystemExit, match=r"holds the demo of .*'videos': 4.*give another --out"):
        steps_done(out, wanted | {"videos": 5})
    (out / "demo.json").unlink()
    with pytest.raises(SystemExit, match="not empty and no demo"):
        steps_done(out, wanted)
    assert (out / "mine.txt").read_text() == "kept"
    train = next(each for each in commands(out, **wanted) if each.startswith("strive-rl train"))
    assert resumption(out, train) == ""
    (out / "run").mkdir()
    (out / "run" / "settings.json").touch()
    assert resumption(out, train) == " --resume"
    assert resumption(out, "strive-rl eval") == ""


def test_too_few_videos_are_refused(tmp_path: Path) -> None:
    """Regression: fewer than 10 gave two held-out videos without a word."""
    out = tmp_path / "demo"
    command = [sys.executable, ROOT / "tools" / "demo.py", "--out", out, "--videos", "9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, out.exists()) == (2, False)
    assert "9 is not in the range x>=10" in done.stderr


@pytest.mark.slow
def test_the_demo_runs_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, ROOT / "tools" / "demo.py", "--out", out, "--videos", "10", "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Accuracy on 2 videos not seen in training" in done.stdout
    assert "2 videos are few" in done.stdout
    assert "gain with uniform frames: " in done.stdout
    assert "gain with importance frames: " in done.stdout
    assert (out / "train.shards" / "report.html").is_file()
    assert len((out / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    before = (out / "run" / "metrics.jsonl").read_bytes()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0
    assert again.stdout.count("(done before)") == 9
    assert (out / "run" / "metrics.jsonl").read_bytes() == before
    Qwen2_5_VLForConditionalGeneration.from_pretrained(out / "run" / "model")


def test_ctrl_c_lets_the_command_save_first(tmp_path: Path) -> None:
    """Regression: the demo killed training a quarter of a second after Ctrl-C, while it saved."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('working', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "sys.stdin.readline()\n"  # as long as saving takes
        "print('saved', flush=True)\n"
        "sys.exit(130)\n"
    )
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from tools.demo import run\nrun('{Path(sys.executable).name} {slow}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdin
        assert child.stdout
        while child.stdout.readline() != "working\n":
            pass
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "saved\n"
        assert child.wait() == 130
