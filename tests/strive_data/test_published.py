"""What --config means."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import SettingsError
from strive_data.published import manifests_home, settings_file


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_file(None, "builds") is None
    named = manifests_home() / "builds" / "qwen3-vl.toml"
    assert settings_file(Path("qwen3-vl"), "builds") == named
    for text in ("absent.toml", "folder/qwen3-vl", "/qwen3-vl"):
        assert settings_file(Path(text), "builds") == Path(text)
    monkeypatch.chdir(tmp_path)
    Path("qwen3-vl").touch()
    assert settings_file(Path("qwen3-vl"), "builds") == Path("qwen3-vl")


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown name in manifests/builds 'qwen4-vl', did you mean"):
        settings_file(Path("qwen4-vl"), "builds")
