from __future__ import annotations

from pathlib import Path

import av
import pytest

from strive_data.annotations.read import read_annotations
from tools.bench.build.workload import ask_about, render_long_video, repeat_clips


def test_clips_are_repeated_with_their_own_questions(shared_data: Path, tmp_path: Path) -> None:
    job = repeat_clips(shared_data, tmp_path / "job", copies=2)
    assert (job.videos, job.questions) == (22, 52)
    rows = read_annotations([job.annotation], job.root)
    assert len(rows.questions) == 52
    assert not rows.failures


@pytest.mark.parametrize("each", [1, 4])
def test_each_clip_can_have_so_many_questions(shared_data: Path, tmp_path: Path, each: int) -> None:
    job = repeat_clips(shared_data, tmp_path / "job", copies=1, questions_per_video=each)
    assert (job.videos, job.questions) == (11, 11 * each)


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
