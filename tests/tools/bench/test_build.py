from __future__ import annotations

from pathlib import Path

import av
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.config import DecodeSettings, ScoreSettings
from strive_data.score.registry import DEMO_MODEL
from tools.bench.build.stages import (
    StageCost,
    ask_about,
    bare_decode,
    bare_jpeg,
    bare_model,
    choose_model,
    render_long_video,
    repeat_clips,
)


def test_a_stage_for_other_work_costs_in_proportion() -> None:
    cost = StageCost(stage="model", frames=10, wall_seconds=2.0, cpu_seconds=3.0, how="so")
    more = StageCost(stage="model", frames=25, wall_seconds=5.0, cpu_seconds=7.5, how="so")
    assert cost.for_frames(25) == more


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


@pytest.mark.parametrize(("copies", "each", "questions"), [(2, None, 52), (1, 1, 11), (1, 4, 44)])
def test_clips_are_repeated_with_their_own_or_so_many_questions(
    shared_data: Path, tmp_path: Path, copies: int, each: int | None, questions: int
) -> None:
    asked = {} if each is None else {"questions_per_video": each}
    job = repeat_clips(shared_data, tmp_path / "job", copies=copies, **asked)
    assert (job.videos, job.questions) == (11 * copies, questions)
    rows = read_annotations([job.annotation], job.root)
    assert (len(rows.questions), rows.failures) == (questions, ())


def test_a_long_video_has_sparse_key_frames_and_is_rendered_once(tmp_path: Path) -> None:
    path = render_long_video(tmp_path / "long.mp4", minutes=0.5)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert len(packets) == 750
    assert sum(packet.is_keyframe for packet in packets) <= 6
    before = path.stat().st_mtime_ns
    assert render_long_video(path, minutes=9).stat().st_mtime_ns == before
    job = ask_about(path, tmp_path / "job", copies=2, questions=3)
    assert (job.videos, job.questions) == (2, 6)
    assert len(read_annotations([job.annotation], job.root).questions) == 6
