from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.common.imports import imported
from strive_data.errors import UsageError


def test_what_is_named_is_imported() -> None:
    assert imported("json:loads", "reward.function", "function") is json.loads
    assert imported("json.decoder:JSONDecoder", "scorer", "class") is json.JSONDecoder


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("json", "class", "set 'json': expected package.module:ClassName or file.py:ClassName"),
        (":loads", "function", "set ':loads': expected package.module:function or file.py:function"),
        ("json:", "function", "set 'json:': expected package.module:function or file.py:function"),
        ("json:nothing", "function", "set json:nothing: json has no function nothing"),
        ("json:__name__", "class", "set json:__name__: json has no class __name__"),
        (
            "no_such_package.x:y",
            "class",
            "set no_such_package.x:y: cannot import no_such_package.x: No module named 'no_such_package'; "
            "is no_such_package installed, or its folder on PYTHONPATH?",
        ),
    ],
)
def test_what_is_not_there_is_said_with_the_setting(name: str, kind: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        imported(name, "set", kind)
    assert str(raised.value) == says


def test_what_a_file_imports_and_is_absent_is_named(tmp_path: Path) -> None:
    file = tmp_path / "needs_more.py"
    file.write_text("import no_such_package.part\n")
    with pytest.raises(UsageError, match="is no_such_package installed"):
        imported(f"{file}:f", "set", "function")


@pytest.mark.parametrize("statement", ["raise SystemExit(3)", "1 / 0", "raise BaseException('no')"])
def test_a_module_that_fails_on_import_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    (tmp_path / "failing_scorer.py").write_text(f"import json\n{statement}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"importing failing_scorer raised .*failing_scorer.py, line 2"):
        imported("failing_scorer:Mine", "set", "class")


def test_a_module_that_python_cannot_read_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unreadable_scorer.py").write_text("import json\nclass Mine(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"cannot import unreadable_scorer: .*unreadable_scorer.py, line 2"):
        imported("unreadable_scorer:Mine", "set", "class")
