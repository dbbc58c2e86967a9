"""A user's own function by import path."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.reward.own import load_own, own_parts
from tests.strive_rl.reward.test_score import QUESTION


def test_a_function_of_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def brief(text, question):\n"
        "    return {'brief': float(len(text) < 9), 'asked': bool(question.options)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    function = load_own("my_rewards:brief")
    assert own_parts(function, "short", QUESTION, "here") == {"brief": 1.0, "asked": 1.0}
    with pytest.raises(UsageError, match="my_rewards has no function long"):
        load_own("my_rewards:long")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("brief", "expected package.module:function"),
        ("my_rewards:", "expected package.module:function"),
        (
            "no_such_module:f",
            r"cannot import no_such_module: .*; is no_such_module installed, or .* PYTHONPATH\?",
        ),
        ("math:pi", "math has no function pi"),
    ],
)
def test_names_that_are_no_function(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_own(name)
