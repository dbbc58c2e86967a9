from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest

from strive_data.build.pipeline import build
from strive_data.build.progress import BuildProgress
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.errors import SettingsError
from strive_data.inspect.overlap import (
    OVERLAP_TABLE,
    Hits,
    OverlapSettings,
    as_overlap_text,
    find_overlap,
    threshold_of,
    vote,
)
from strive_data.inspect.overlap_frames import embed_by
from strive_data.schema import Sample
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample


def hits_of(*rows: tuple[float, float, float]) -> Hits:
    """Rows of (train time, eval time, cosine)."""
    train, evaluation, cosines = np.array(rows, dtype=float).T
    return Hits(train_times=train, eval_times=evaluation, cosines=cosines.astype(np.float32))


def test_frames_that_agree_on_a_shift_are_a_match() -> None:
    hits = hits_of((3, 0, 0.9), (4, 1, 0.8), (5, 2, 0.95), (6, 3, 0.85), (0, 9, 0.99))
    match = vote(hits, tolerance_seconds=0.5, least=4)
    assert match is not None
    assert match.hits == 4
    assert match.offset_seconds == pytest.approx(-3)
    assert match.score == pytest.approx(0.8)
    assert match.evidence == pytest.approx(-np.log([0.1, 0.2, 0.05, 0.15]).sum(), rel=1e-5)
    three = vote(hits, tolerance_seconds=0.5, least=3)
    assert three is not None
    assert three.score == pytest.approx(0.85)


def test_frames_that_agree_on_no_shift_are_none() -> None:
    hits = hits_of((0, 0, 0.9), (1, 5, 0.9), (2, 12, 0.9), (3, 20, 0.9))
    assert vote(hits, tolerance_seconds=0.5, least=4) is None


def test_one_frame_that_is_like_many_counts_once() -> None:
    """A title card in one video against a still shot in the other is one hit, however many pairs it makes."""
    hits = hits_of(*((7, 7 + i / 10, 0.99) for i in range(5)))
    assert vote(hits, tolerance_seconds=1.0, least=2) is None
    one = vote(hits, tolerance_seconds=1.0, least=1)
    assert one is not None
    assert one.hits == 1


@pytest.mark.parametrize("shift", [-7.77, -0.5, 0.0, 0.49, 3.2])
def test_shifts_within_a_tolerance_are_in_one_window_wherever_it_lies(shift: float) -> None:
    rows = [
        (t, t + shift + wobble, 0.9)
        for t, wobble in zip(range(6), (0, 0.4, 0.1, 0.35, 0.2, 0.3), strict=True)
    ]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert match is not None
    assert match.hits == 6
    assert match.offset_seconds == pytest.approx(shift + 0.225)


def test_the_shift_is_that_of_most_evidence_and_the_score_the_best_of_any() -> None:
    """6·log 5 = 9.7 is more than 4·log 10 = 9.2, and less than 4·log 100."""
    rows = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.9) for t in range(4)]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert match is not None
    assert (match.hits, match.offset_seconds) == (6, pytest.approx(0))
    assert match.score == pytest.approx(0.9)
    surer = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.99) for t in range(4)]
    other = vote(hits_of(*surer), tolerance_seconds=0.5, least=4)
    assert other is not None
    assert (other.hits, other.offset_seconds) == (4, pytest.approx(10))


PICTURE = embed_by("picture", ScoreSettings())
STORED = embed_by("stored", ScoreSettings())


def walk(sample_id: str, start: int, seed: int = 0, video_id: str = "", least: int = 10) -> Sample:
    """Ten frames, one a second, of a random walk of stored embeddings, from step `start` on."""
    steps = np.random.default_rng(seed).normal(size=(40, 16))
    sample = replace(a_sample(sample_id, count=least), embeds=steps[start : start + least].astype(np.float16))
    info = replace(sample.meta.info, video_id=video_id or sample_id)
    question = a_question(sample_id, video=f"{sample_id}.mp4")
    return replace(sample, meta=replace(sample.meta, question=question, info=info))


def test_a_shifted_copy_is_found_with_its_shift_and_others_are_not(tmp_path: Path) -> None:
    train = write_build(tmp_path / "train", [walk("a", 0), walk("b", 0, seed=1)])
    evaluation = write_build(tmp_path / "eval", [walk("later", 4), walk("other", 0, seed=2), walk("tail", 7)])
    table = find_overlap(train, evaluation, STORED, OverlapSettings(threshold=0.95))
    assert table.schema == OVERLAP_TABLE
    (row,) = table.rows(named=True)
    assert (row["train_video"], row["eval_video"], row["same_packets"]) == ("a.mp4", "later.mp4", False)
    assert (row["hits"], row["train_samples"], row["eval_samples"]) == (6, 1, 1)
    assert row["offset_seconds"] == pytest.approx(-4)
    assert row["score"] == pytest.approx(1, abs=1e-5)
    three = find_overlap(train, evaluation, STORED, OverlapSettings(threshold=0.95, least_hits=3))
    assert three["eval_video"].sort().to_list() == ["later.mp4", "tail.mp4"]


def test_the_same_packets_are_certain_whatever_the_frames(tmp_path: Path) -> None:
    train = write_build(tmp_path / "train", [walk("a", 0, video_id="x"), walk("b", 0, seed=1)])
    evaluation = write_build(tmp_path / "eval", [walk("c", 0, seed=2, video_id="x"), walk("d", 0, seed=1)])
    table = find_overlap(train, evaluation, STORED, OverlapSettings(threshold=0.95))
    columns = ["train_video", "eval_video", "same_packets", "hits", "score"]
    first, second = table.select(columns).rows()
    assert first == ("a.mp4", "c.mp4", True, 0, None)
    assert second[:4] == ("b.mp4", "d.mp4", False, 10)


def test_nothing_in_common_is_an_empty_table(tmp_path: Path) -> None:
    train = write_build(tmp_path / "train", [walk("a", 0)])
    evaluation = write_build(tmp_path / "eval", [walk("b", 0, seed=1)])
    table = find_overlap(train, evaluation, STORED, OverlapSettings(threshold=0.95))
    assert table.is_empty()
    assert table.schema == OVERLAP_TABLE


def test_embeddings_need_a_threshold_of_their_own_and_picture_has_one() -> None:
    assert threshold_of("picture", None) == 0.75
    assert threshold_of("clip", 0.9) == 0.9
    with pytest.raises(SettingsError, match="--by clip: give --threshold"):
        threshold_of("clip", None)
    with pytest.raises(SettingsError, match="--threshold: got 1"):
        OverlapSettings(threshold=1.0)
    with pytest.raises(SettingsError, match="--hits: got 0"):
        OverlapSettings(least_hits=0)


def build_of(videos: Sequence[Path], root: Path, out: Path) -> Path:
    rows = [
        {
            "problem_id": path.stem,
            "problem": "What is shown?",
            "data_type": "video",
            "problem_type": "free-form",
            "path": path.relative_to(root).as_posix(),
            "solution": "<answer>x</answer>",
        }
        for path in videos
    ]
    annotation = out.with_suffix(".jsonl")
    annotation.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = BuildSettings(
        decode=DecodeSettings(candidates=32),
        score=ScoreSettings(scorer="demo", batch_size=32),
        sampler=SamplerSettings(frames=8),
    )
    with BuildProgress() as progress:
        build([annotation], data_root=root, out=out, settings=settings, observer=progress, workers=2)
    return out


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Builds of all real clips; of all but one; and of three copies of that one with an exact one."""
    folder = tmp_path_factory.mktemp("overlap")
    videos = sorted(path for path in (shared_data / "videos").iterdir() if path.stem != "unreadable")
    source = shared_data / "videos" / "basketball.mp4"
    copies = folder / "copies"
    copies.mkdir()
    made = [
        write_copy(source, copies / "encoded.mp4", scale=0.5, crf=36),
        write_copy(source, copies / "cropped.mp4", rows=(0.05, 0.85), columns=(0.15, 0.95)),
        write_copy(source, copies / "cut.mp4", time=(0.3, 0.8)),
        Path(shutil.copy(source, copies / "same.mp4")),
    ]
    train = build_of(videos, shared_data, folder / "train")
    others = build_of([path for path in videos if path != source], shared_data, folder / "others")
    return train, others, build_of(made, folder, folder / "eval")


@pytest.mark.slow
def test_copies_of_a_real_clip_are_found_and_other_clips_are_not(real: tuple[Path, Path, Path]) -> None:
    train, others, copies = real
    table = find_overlap(train, copies, PICTURE, OverlapSettings())
    assert set(table["train_video"]) == {"videos/basketball.mp4"}
    assert table["eval_video"].sort().to_list() == [
        f"copies/{name}.mp4" for name in ("cropped", "cut", "encoded", "same")
    ]
    rows = {Path(row["eval_video"]).stem: row for row in table.rows(named=True)}
    assert [name for name, row in rows.items() if row["same_packets"]] == ["same"]
    assert rows["cut"]["offset_seconds"] == pytest.approx(-3, abs=0.6)
    assert rows["encoded"]["offset_seconds"] == pytest.approx(0, abs=0.3)
    assert min(row["score"] for row in rows.values()) > 0.85
    assert find_overlap(others, copies, PICTURE, OverlapSettings()).is_empty()


@pytest.mark.slow
def test_no_real_clip_comes_near_another(real: tuple[Path, Path, Path]) -> None:
    train = real[0]
    table = find_overlap(train, train, PICTURE, OverlapSettings(threshold=0.3))
    same = pl.col("train_video") == pl.col("eval_video")
    assert table.filter(same)["same_packets"].all()
    assert table.filter(same).height == 12
    others = table.filter(~same)
    assert others.height > 0
    assert others["score"].max() < 0.68  # type: ignore[operator]


def test_an_evaluation_video_counts_once() -> None:
    rows = [
        ("a.mp4", "x.mp4", True, 1.0, 9, 0.0, 1, 3),
        ("b.mp4", "x.mp4", False, 0.9, 5, 2.5, 1, 3),
        ("b.mp4", "y.mp4", False, 0.8, 4, 2.5, 1, 2),
    ]
    text = as_overlap_text(pl.DataFrame(rows, schema=OVERLAP_TABLE, orient="row"))
    assert text.startswith("2 videos of EVAL found in TRAIN too, with 5 samples in EVAL\n")
    assert text.count(".mp4") == 6


def test_nothing_in_common_is_said() -> None:
    assert as_overlap_text(pl.DataFrame(schema=OVERLAP_TABLE)) == "no video in common"


Share = tuple[float, float]


def write_copy(
    source: Path,
    target: Path,
    *,
    scale: float = 1.0,
    rows: Share = (0.0, 1.0),
    columns: Share = (0.0, 1.0),
    time: Share = (0.0, 1.0),
    crf: int = 28,
) -> Path:
    """Encode these shares of each frame and of the clip again, at `scale` times the size."""
    with av.open(str(source)) as media:
        stream = media.streams.video[0]
        rate = stream.average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in media.decode(stream)]
    frames = [_cut(frame, rows, columns) for frame in frames[slice(*_range(len(frames), time))]]
    height, width = (round(side * scale) // 2 * 2 for side in frames[0].shape[:2])
    with av.open(str(target), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            out.mux(video.encode(picture.reformat(width=width, height=height)))
        out.mux(video.encode())
    return target


def _cut(frame: np.ndarray, rows: Share, columns: Share) -> np.ndarray:
    return frame[slice(*_range(frame.shape[0], rows)), slice(*_range(frame.shape[1], columns))]


def _range(count: int, share: Share) -> tuple[int, int]:
    return round(count * share[0]), round(count * share[1])
