"""Names of models that a hub is needed for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from strive_data.common.hub import require_hub
from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score import make_scorer
from strive_rl.common.preflight import require_model

Asked = list[tuple[tuple[str, int], float]]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The connections that were tried: nothing listens, and the cache is empty."""
    tried: Asked = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        tried.append((address, timeout))
        raise OSError("no route")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    hub = "huggingface_hub.constants"
    monkeypatch.setattr(f"{hub}.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(f"{hub}.ENDPOINT", "http://mirror:8080")
    monkeypatch.setattr(f"{hub}.HF_HUB_OFFLINE", False)
    return tried


def cache(home: Path, repository: str, file: str) -> None:
    folder = home / f"models--{repository}" / "snapshots" / "1"
    folder.mkdir(parents=True)
    (folder / file).touch()


def test_a_hub_name_without_a_way_to_it_is_refused(asked: Asked, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Some/Model: no such folder, .*mirror cannot .*\(no route\)"):
        require_model("Some/Model", "cpu")
    assert asked == [(("mirror", 8080), 5.0)]
    require_model("Some/Model")  # It is not loaded.
    cache(tmp_path, "Some--Model", "config.json")
    require_model("Some/Model", "cpu")
    assert len(asked) == 1


def test_a_hub_that_is_switched_off_is_not_asked(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"):
        require_hub("it", "do")
    assert not asked


@pytest.mark.parametrize(
    "settings",
    [
        ScoreSettings(),
        ScoreSettings(pretrained="/no/weights.safetensors"),
        ScoreSettings(model="hf-hub:Some/Model@main"),
        ScoreSettings(scorer="vlm", model="Some/Model"),
        ScoreSettings(scorer="qwen3-vl-reranker"),
        ScoreSettings(scorer="blip-itm"),
        ScoreSettings(scorer="cascade"),
    ],
)
def test_weights_that_nobody_has_are_refused_before_torch_is_imported(
    settings: ScoreSettings, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("clip", "vlm"):  # importing it fails
        monkeypatch.setitem(sys.modules, f"strive_data.score.{module}", None)
    cache(tmp_path, "Another--Model", "model.safetensors")
    with pytest.raises(UsageError, match="mirror cannot be reached"):
        make_scorer(settings)
    assert asked


@pytest.mark.parametrize(
    ("settings", "repository", "file"),
    [
        (ScoreSettings(), "timm--vit", "open_clip_model.safetensors"),
        (ScoreSettings(model="hf-hub:Some/Model"), "Some--Model", "open_clip_config.json"),
        (ScoreSettings(scorer="vlm", model="Some/Model"), "Some--Model", "config.json"),
    ],
)
def test_weights_that_may_be_in_the_cache_are_looked_for_by_its_client(
    settings: ScoreSettings,
    repository: str,
    file: str,
    asked: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("clip", "vlm"):
        monkeypatch.setitem(sys.modules, f"strive_data.score.{module}", None)
    cache(tmp_path, repository, file)
    with pytest.raises(ImportError):
        make_scorer(settings)
    assert not asked
