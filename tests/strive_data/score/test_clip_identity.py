from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from strive_data.config import ScoreSettings
from strive_data.score.clip_identity import identity_of
from strive_data.score.load_clip import load_clip


def settings_of(folder: Path, **changes: object) -> ScoreSettings:
    base = ScoreSettings(model=f"local-dir:{folder}", pretrained="", device="cpu")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def other(tiny_clip: Path, tmp_path: Path) -> Path:
    """The same model in a folder of the same name elsewhere, free to be changed."""
    return Path(shutil.copytree(tiny_clip, tmp_path / tiny_clip.name))


def identity(folder: Path, batch_size: int = 4, **changes: object) -> str:
    return identity_of(load_clip(settings_of(folder, **changes)), batch_size=batch_size)


def test_the_same_files_loaded_again_and_from_elsewhere_are_the_same(tiny_clip: Path, other: Path) -> None:
    assert identity(tiny_clip) == identity(tiny_clip) == identity(other)


def test_another_batch_size_precision_weight_or_preprocessing_is_another(
    tiny_clip: Path, other: Path
) -> None:
    seen = [identity(tiny_clip), identity(tiny_clip, 8), identity(tiny_clip, precision="bf16")]
    weights = load_file(other / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, other / "open_clip_model.safetensors")
    seen.append(identity(other))
    config = json.loads((other / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": [0.5, 0.5, 0.5]}
    (other / "open_clip_config.json").write_text(json.dumps(config))
    seen.append(identity(other))
    assert len(set(seen)) == 5
