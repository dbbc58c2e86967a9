"""The main job on real videos, as it is typed: build, report, train a few steps, evaluate."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import simplejpeg
from PIL import Image

pytestmark = pytest.mark.slow

SMALL = ["--candidates", "32", "--frames", "8", "--set", "decode.max_pixels=12544", "--workers", "2"]


def run(program: str, *arguments: object) -> str:
    command = [Path(sys.executable).parent / program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def shards(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("main_job") / "shards"
    questions = shared_data / "questions.jsonl"
    places = ["--data-root", shared_data, "--out", out]
    run("strive-data", "build", questions, *places, "--scorer", "demo", *SMALL)
    return out


def test_all_questions_of_all_clips_are_built(shards: Path) -> None:
    counts = json.loads((shards / "run.json").read_text())["counts"]
    known = {name: counts[name] for name in ("samples", "videos", "shards", "failures", "candidates")}
    assert known == {"samples": 26, "videos": 11, "shards": 1, "failures": 0, "candidates": 26 * 32}
    samples = pl.read_parquet(shards / "samples.parquet")
    assert samples["evidence_spans"].list.len().min() == 1
    assert samples.select("frames", "variants").unique().rows() == [(8, 2)]


def test_the_report_shows_the_right_frames_at_the_right_times(shards: Path, shared_data: Path) -> None:
    """Each thumbnail is, of all frames of the clip decoded one by one, the one of its time."""
    run("strive-data", "report", shards, "--sample", "1")
    page = (shards / "report-chosen.html").read_text()
    data = dict(re.findall(r'<image id="([^"]+)"[^>]*href="data:image/jpeg;base64,([^"]+)"', page))
    shown = re.findall(r'title="[^":]+: ([\d.]+) s, score [^"]+"><svg [^>]+><use href="#([^"]+)"', page)
    assert len(shown) == 3 * 8
    with av.open(str(shared_data / "videos" / "bikes.mp4")) as container:
        frames = [(frame.time, frame.to_image()) for frame in container.decode(video=0)]
    start = frames[0][0]
    for seconds, name in set(shown):
        thumbnail = simplejpeg.decode_jpeg(b64decode(data[name])).astype(float)
        size = (thumbnail.shape[1], thumbnail.shape[0])
        near = [(t - start, image) for t, image in frames if abs(t - start - float(seconds)) < 2]
        apart = [
            np.abs(np.asarray(i.resize(size, Image.Resampling.BICUBIC)) - thumbnail).mean() for _, i in near
        ]
        at = abs(near[int(np.argmin(apart))][0] - float(seconds))
        assert min(apart) < 12
        # Where the picture stands still its neighbours are as near; else it is the frame of that time.
        here = apart[int(np.argmin([abs(t - float(seconds)) for t, _ in near]))]
        assert at < 0.03 or here - min(apart) < 1


def test_a_few_steps_of_training_finish_and_the_model_is_evaluated(shards: Path, tmp_path: Path) -> None:
    common = ["--set", "data.questions_per_step=3", "--set", "rollout.max_new_tokens=8"]
    places = ["--shards", shards, "--model", "demo", "--out", tmp_path / "run"]
    run("strive-rl", "train", *places, "--steps", 2, *common)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2]
    assert all(record["questions"] == 3 and record["dropped"] == [] for record in records)
    model = tmp_path / "run" / "model"
    said = run(
        "strive-rl", "eval", "--shards", shards, "--model", model, "--out", tmp_path / "eval",
        "--set", "max_new_tokens=8",
    )  # fmt: skip
    assert "importance" in said
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert results["samplers"]["uniform"]["accuracy"]["questions"] == 26
