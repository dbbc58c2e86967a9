from __future__ import annotations

from pathlib import Path

from strive_data.config import DecodeSettings, ScoreSettings
from strive_data.score.registry import DEMO_MODEL
from tools.bench.build.stages import StageCost, bare_decode, bare_jpeg, bare_model, choose_model
from tools.bench.build.workload import render_long_video


def test_a_stage_for_other_work_costs_in_proportion() -> None:
    cost = StageCost(stage="model", frames=10, wall_seconds=2.0, cpu_seconds=3.0, how="so")
    assert cost.for_frames(25) == StageCost(
        stage="model", frames=25, wall_seconds=5.0, cpu_seconds=7.5, how="so"
    )


def test_decode_and_jpeg_count_the_candidates(tmp_path: Path) -> None:
    video = render_long_video(tmp_path / "a.mp4", minutes=0.05)
    settings = DecodeSettings(candidates=5)
    decode, jpeg = bare_decode([video, video], settings), bare_jpeg([video], settings)
    assert (decode.frames, jpeg.frames) == (10, 5)
    assert min(decode.cpu_seconds, jpeg.cpu_seconds) > 0


def test_the_model_is_tried_in_each_way_and_the_best_is_kept() -> None:
    settings = choose_model("demo", "random", "fp32", Path())
    assert settings == ScoreSettings(model=f"local-dir:{DEMO_MODEL}", pretrained="")
    cost = bare_model(settings, batch_sizes=[2, 4], frames=24, tried_frames=8)
    assert cost.frames == 24
    assert cost.how.startswith(("batches of 2,", "batches of 4,"))
