"""Exports read by the libraries that they are for; skipped where these are absent (the extra [trl])."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.build.api import open_build
from strive_data.config import ExportOptions
from strive_data.export.layouts import export_build

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(mixed: Path, layout: str, out: Path, **options: Any) -> Any:
    export_build(mixed / "build", layout, out, options=ExportOptions(**options))
    return datasets.load_dataset(str(out), split="train")


@pytest.mark.parametrize("layout", ["easyr1", "verl", "trl", "datasets"])
def test_datasets_loads_pictures_and_typed_columns(mixed: Path, tmp_path: Path, layout: str) -> None:
    loaded = load(mixed, layout, tmp_path / "out")
    images = loaded.features["images"]
    assert isinstance(images.feature, datasets.Image)
    about = loaded.features["extra_info"] if layout == "verl" else loaded.features
    assert (about["times"].feature.dtype, about["variant"].dtype) == ("float64", "string")
    chosen = [(one, number) for one in open_build(mixed / "build") for number in range(2)]
    assert len(loaded) == len(chosen) == 14
    for row, (one, number) in zip(loaded, chosen, strict=True):
        assert (row["extra_info"] if layout == "verl" else row)["times"] == one.times[number].tolist()
        for image, stored in zip(row["images"], one.images[number], strict=True):
            np.testing.assert_allclose(np.asarray(image).astype(int), np.asarray(stored), atol=8)


def test_verl_reads_bytes_where_the_card_is_not_read(mixed: Path, tmp_path: Path) -> None:
    """verl and EasyR1 load the files themselves, without the folder's card."""
    export_build(mixed / "build", "verl", tmp_path / "out")
    (file,) = (tmp_path / "out" / "data").iterdir()
    loaded = datasets.load_dataset("parquet", data_files=str(file))["train"]
    assert [image["bytes"] for image in loaded[0]["images"]] == open_build(mixed / "build")[0].jpegs[0]
    loaded = datasets.load_dataset("parquet", data_dir=str(file.parent), split="train")
    assert len(loaded) == 14


def test_datasets_reads_the_lines_of_messages_and_the_key_frames(mixed: Path, tmp_path: Path) -> None:
    """As ms-swift and lmms-eval load their tables."""
    export_build(mixed / "build", "messages", tmp_path / "messages")
    rows = datasets.load_dataset("json", data_files=str(tmp_path / "messages" / "train.jsonl"))["train"]
    said = ["8", "1 to 3.5", "2.5", "NO <b>EXIT</b> «ü»", "a red wall"]
    assert [row["solution"] for row in rows][4::2] == said
    export_build(mixed / "build", "lmms-eval", tmp_path / "key", data_root=mixed / "world")
    task = datasets.load_dataset("json", data_files={"test": str(tmp_path / "key" / "keyframes-1.json")})
    assert len(task["test"]) == 7
    assert all(type(number) is int for number in task["test"][0]["keyframe_indices"])


@pytest.mark.parametrize("time_stamps", [False, True])
def test_trl_puts_the_frames_into_its_prompts(mixed: Path, tmp_path: Path, time_stamps: bool) -> None:
    pytest.importorskip("trl", reason="the package trl is not installed")
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    for row in load(mixed, "trl", tmp_path / "out", time_stamps=time_stamps):
        assert is_conversational(row)
        (message,) = prepare_multimodal_messages(row["prompt"], images=row["images"])
        shown = [part["image"] for part in message["content"] if part["type"] == "image"]
        assert shown == row["images"]
        assert message["content"][-1]["text"].startswith(("What", "Which", "A ", "How", "Where", "When"))


@pytest.mark.slow
def test_the_example_trains_with_trl_on_videos_and_images(mixed: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the package trl is not installed")
    load(mixed, "trl", tmp_path / "frames", instruction="Think in <think></think>, <answer>B</answer>.")
    root = Path(__file__).parents[3]
    model, sizes = root / "strive_rl/study/demo_models/demo", ["--completions", 4, "--max-new-tokens", 8]
    arguments = ["--data", tmp_path / "frames", "--model", model, "--out", tmp_path / "trained", "--steps", 3]
    command = [sys.executable, "-m", "tools.examples.trl_grpo", *map(str, [*arguments, *sizes])]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split("  ")[0] for line in done.stdout.splitlines() if line.startswith("step ")]
    assert steps == ["step 1", "step 2", "step 3"]
    assert (tmp_path / "trained" / "model.safetensors").stat().st_size > 1 << 20
