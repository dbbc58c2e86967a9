from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from strive_data import __version__
from strive_data.common import console
from strive_data.common.console import (
    describe,
    existing,
    lasting_place,
    local_folder,
    local_path,
    sections,
)
from strive_data.common.signals import ENDING, exit_code, terminable
from strive_data.config import BuildSettings
from strive_data.errors import SettingsError, Terminated, UsageError
from strive_rl.config import TrainSettings
from strive_rl.eval.config import BenchmarkSettings, EvalSettings


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_answered_and_raised_in_the_block_only(number: signal.Signals) -> None:
    before, said = signal.getsignal(number), []
    with pytest.raises((Terminated, KeyboardInterrupt)) as raised, terminable(said.append):
        os.kill(os.getpid(), number)
    assert exit_code(raised.value) == 128 + number
    assert said == [f"{number.name}: stopping; again to stop now"]
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_the_process() -> None:
    program = (
        "import os, signal\n"
        "from strive_data.common.signals import terminable\n"
        "with terminable():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "\nSIGINT: stopping; again to stop now\n")


@pytest.mark.parametrize("package", ["strive_data", "strive_rl"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_has_an_answer_before_the_command_line_is_imported(
    package: str, number: signal.Signals
) -> None:
    """Regression: it ended the command without a word, or with a traceback of some import."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{package}.cli': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"from {package}.__main__ import main\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (128 + number, f"stopped by {number.name}\n")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_before_a_command_has_its_own_answer_is_one_line(number: signal.Signals) -> None:
    """In `exec`, as where typer builds options; the cleaning up of the command is done."""
    program = (
        "from strive_data.common import console\n"
        "app = console.make_app('test')\n"
        "@app.command()\n"
        "def one() -> None:\n"
        f"    try: exec('import os; os.kill(os.getpid(), {int(number)})')\n"
        "    finally: print('cleaned')\n"
        "@app.command()\n"
        "def two() -> None: pass\n"
        "console.run(app)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "one"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "cleaned\n")
    assert done.stderr == f"\n{number.name}: stopping; again to stop now\n"


def test_a_full_standard_output_is_one_line() -> None:
    program = (
        "from strive_data.common import console\n"
        "app = console.make_app('test')\n"
        "@app.command()\n"
        "def say() -> None:\n"
        "    console.echo('x')\n"
        "console.run(app)\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, "say"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("path", ["x" * 300, "loop/file"])
def test_a_path_that_cannot_be_is_one_line(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    app = console.make_app("test")

    @app.command()
    def look() -> None:
        Path(path).stat()

    monkeypatch.setattr("sys.argv", ["test", "look"])
    with pytest.raises(SystemExit) as ended:
        console.run(app)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n"), len(said) < 150) == (2, 1, True)
    assert said.startswith(f"error: '{path[:60]}")


def test_exit_codes_are_those_of_a_shell() -> None:
    assert (exit_code(KeyboardInterrupt()), exit_code(Terminated())) == (130, 143)


def run_failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    app = console.make_app("test")

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["test", "fail"])
    console.run(app)


def test_an_error_for_the_user_is_one_line_and_a_defect_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_failing(UsageError("no such thing: name another"), monkeypatch)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: no such thing: name another\n"
    with pytest.raises(ZeroDivisionError):
        run_failing(ZeroDivisionError(), monkeypatch)


def test_an_output_path_is_not_a_url() -> None:
    assert local_path("a/b") == Path("a/b")
    assert local_path("file:///a/b") == Path("/a/b")
    with pytest.raises(UsageError, match="s3://bucket/x"):
        local_path("s3://bucket/x")


def test_an_input_must_exist_unless_it_is_a_url(tmp_path: Path) -> None:
    assert local_folder(f"file://{tmp_path}") == tmp_path
    assert existing("file")("s3://bucket/x") == "s3://bucket/x"
    assert existing("file")(str(tmp_path)) == str(tmp_path)
    for parse, where in ((local_folder, "s3://bucket/x"), (local_folder, "none"), (existing("file"), "none")):
        with pytest.raises(UsageError, match=where):
            parse(where)


def test_the_version_and_short_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = console.make_app("What it does.")
    app.command()(lambda: None)
    for option, says in (("--version", __version__), ("-h", "What it does."), ("--help", "--version")):
        monkeypatch.setattr("sys.argv", ["test", option])
        with pytest.raises(SystemExit) as caught:
            console.run(app)
        assert caught.value.code == 0
        assert says in capsys.readouterr().out


def test_a_build_may_go_where_it_stays_and_memory_is_gone_with_the_command() -> None:
    for where in ("out", "file:///out", "s3://bucket/out"):
        assert lasting_place(where) == where
    with pytest.raises(UsageError, match="memory://"):
        lasting_place("Memory://bucket/out")


@pytest.mark.parametrize("cls", [BuildSettings, TrainSettings, BenchmarkSettings])
def test_every_setting_is_listed_once(cls: type) -> None:
    lines = describe(cls).splitlines()
    for name, section in sections(cls):
        hints = get_type_hints(section)
        for member in fields(section):
            if not is_dataclass(hints[member.name]):
                key = member.name if name == "top" else f"{name}.{member.name}"
                assert sum(line.startswith(f"  {key} = ") for line in lines) == 1, key


def test_one_section_with_defaults_and_types_and_the_sections_alone() -> None:
    text = describe(TrainSettings, "validation")
    assert text.startswith("[validation]\nHow a run with")
    assert "  validation.every = 50   (whole number)" in text
    assert "  validation.questions = none   (whole number, or none)" in text
    assert "  algorithm.loss = grpo   (grpo, dr_grpo, dapo, gspo)" in describe(TrainSettings, "algorithm")
    assert "  log = []   (list of tensorboard, wandb)" in describe(TrainSettings, "top")
    assert "  policy.train_vision = false   (true, false)" in describe(TrainSettings, "policy")
    with pytest.raises(SettingsError, match="'algoritm', did you mean 'algorithm'"):
        describe(TrainSettings, "algoritm")
    names = describe(TrainSettings, "sections").splitlines()
    assert [line.split()[0] for line in names] == [name for name, _ in sections(TrainSettings)]
    assert all(len(line.split()) > 1 for line in names)


def test_of_a_second_way_to_use_a_command_what_the_first_one_lacks() -> None:
    ways = {"shards": EvalSettings, "videos": BenchmarkSettings}
    first, second = describe(ways, "top").split("videos:\n\n")
    assert first.startswith("shards:\n\n[top]\nHow a model is evaluated by frame sampler")
    assert "  samplers = ['uniform', 'importance']   (list of text)" in first
    assert [line.split()[0] for line in second.splitlines() if " = " in line] == [
        *("samplers", "prompt", "missing", "quality")
    ]
    assert describe(ways, "decode").startswith("videos:\n\n[decode]\n")
    assert describe(ways, "policy") == "shards:\n\n" + describe(EvalSettings, "policy")
    names = [line.split()[0] for line in describe(ways, "sections").splitlines() if line]
    assert names == ["shards:", "top", "policy", "videos:", "top", "decode", "score", "sampler"]
