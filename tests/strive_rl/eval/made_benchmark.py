"""A small benchmark of rendered clips in VideoMME's published layout, and settings that answer it quickly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from strive_data.config import DecodeSettings, SamplerSettings
from strive_rl.benchmarks.rules.choices import VIDEOMME
from strive_rl.config import PolicySettings
from strive_rl.eval.config import BenchmarkSettings
from strive_rl.eval.on_benchmark import Task
from tools.barcodes import Clip, encode

LETTERS = "ABCD"
QUICK = BenchmarkSettings(
    policy=PolicySettings(device="cpu", prompts_per_pass=4),
    max_new_tokens=4,
    bootstrap_resamples=50,
    decode=DecodeSettings(candidates=8, max_pixels=56 * 56),
    sampler=SamplerSettings(frames=4),
)


def make_benchmark(root: Path, model: Path, *, videos: int = 3, questions: int = 3, absent: int = 0) -> Task:
    """Three questions on each of the videos; `absent` further videos are in the annotation only."""
    (root / "videos").mkdir(parents=True)
    for number in range(videos):
        encode(Clip(name=f"v{number}.mp4", count=20 + 5 * number, width=64, height=48), root / "videos")
    rows = [row(video, number) for video in range(videos + absent) for number in range(questions)]
    (root / "test.json").write_text(json.dumps(rows))
    return Task(
        benchmark=VIDEOMME,
        annotations=(root / "test.json",),
        data_root=root,
        model=str(model),
        settings=QUICK,
        workers=1,
    )


def row(video: int, number: int) -> dict[str, object]:
    return {
        "video_id": f"{video:03d}",
        "duration": ("short", "medium", "long")[video % 3],
        "domain": "Knowledge",
        "sub_category": "Bars",
        "videoID": f"v{video}",
        "question_id": f"{video:03d}-{number}",
        "task_type": "Counting" if number else "Recognition",
        "question": f"Which bar is bright, {number}?",
        "options": [f"{letter}. The {letter} bar." for letter in LETTERS],
        "answer": LETTERS[(video + number) % 4],
    }


def with_samplers(settings: BenchmarkSettings, *samplers: str) -> BenchmarkSettings:
    return replace(settings, samplers=samplers, score=replace(settings.score, scorer="demo", model=""))
