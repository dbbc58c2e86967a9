from __future__ import annotations

import pytest

from strive_data import console
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
