"""One mixed build for all tests of exports: a video, a folder of pictures, an image, every problem type."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from strive_data.build.pipeline import build
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.demo.draw import write_world
from strive_data.schema import PROBLEM_TYPES
from tests.strive_data.made.engine import Notes

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=12, max_pixels=112 * 112),
    score=ScoreSettings(scorer="tests.strive_data.made.samples:WaveScorer"),
    sampler=SamplerSettings(frames=4, variants=2),
)
PICTURE_TIMES = [0.0, 0.7, 1.1, 3.0, 3.5, 4.25, 6.0, 7.5]
ROWS = [
    {"problem_id": "count", "path": "frames/clip", "problem_type": "numerical", "solution": "8"},
    {
        "problem_id": "when",
        "path": "frames/clip",
        "problem_type": "temporal grounding",
        "solution": "1 to 3.5",
    },
    {"problem_id": "how far?", "path": "frames/clip", "problem_type": "regression", "solution": "2.5"}
    | {"frame_times": [2 * seconds for seconds in PICTURE_TIMES]},
    {"problem_id": "sign", "path": "still.png", "problem_type": "OCR", "solution": "NO <b>EXIT</b> «ü»"},
    {"problem_id": "say", "path": "still.png", "problem_type": "free-form", "solution": "a red wall"},
]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `world`, the data root, and `build`."""
    root = tmp_path_factory.mktemp("export")
    table = write_world(root / "world", videos=1, questions_per_video=2, seed=3)
    clip = root / "world" / "frames" / "clip"
    clip.mkdir(parents=True)
    for number, _ in enumerate(PICTURE_TIMES):
        Image.fromarray(np.full((56, 84, 3), 20 * number + 30, np.uint8)).save(clip / f"{number:04d}.jpg")
    (clip / "times.txt").write_text("".join(f"{seconds}\n" for seconds in PICTURE_TIMES))
    Image.new("RGB", (60, 40), (200, 0, 0)).save(root / "world" / "still.png")
    with table.open("a") as file:
        file.writelines(json.dumps({"problem": "What is it?", **row}) + "\n" for row in ROWS)
    out = root / "build"
    summary = build([table], data_root=table.parent, out=out, settings=SETTINGS, observer=Notes(), workers=1)
    assert (summary.counts["samples"], summary.failures) == (7, ())
    kinds = pl.read_parquet(out / "samples.parquet")["problem_type"]
    assert set(kinds) == set(PROBLEM_TYPES)
    return root
