from __future__ import annotations

from pathlib import Path

import pytest

from strive_data import console
from strive_data.console import lasting_place, path_here
from strive_data.errors import UsageError


def test_an_error_for_the_user_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = console.make_app("test")

    @app.command()
    def fail() -> None:
        raise UsageError("no such thing: name another")

    monkeypatch.setattr("sys.argv", ["test"])
    with pytest.raises(SystemExit) as caught:
        console.run(app)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: no such thing: name another\n"


def test_code_that_is_wrong_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    app = console.make_app("test")

    @app.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sys.argv", ["test"])
    with pytest.raises(ZeroDivisionError):
        console.run(app)


def test_a_path_that_is_written_to_is_no_url() -> None:
    assert path_here("a/b") == Path("a/b")
    assert path_here("file:///a/b") == Path("/a/b")
    with pytest.raises(UsageError, match=r"^s3://bucket/x: this option writes to a path of this machine"):
        path_here("s3://bucket/x")


@pytest.mark.parametrize("where", ["out", "file:///out", "s3://bucket/out"])
def test_a_build_may_go_where_it_stays(where: str) -> None:
    assert lasting_place(where) == where


def test_memory_is_gone_with_the_command() -> None:
    with pytest.raises(
        UsageError, match="memory:// is this process's own memory, gone when the command ends"
    ):
        lasting_place("Memory://bucket/out")
