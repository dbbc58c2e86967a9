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
from PIL import Image

from strive_data.build.pipeline import build
from strive_data.build.progress import BuildProgress
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.overlap import (
    COSINES,
    FREQUENCIES,
    OVERLAP_TABLE,
    SIDE,
    VIEWS,
    Hits,
    as_overlap_text,
    describe,
    embed_by,
    find_overlap,
    read_video_vectors,
    stored_frames,
    threshold_of,
    vote,
)
from strive_data.schema import Sample
from strive_data.shards.format import encode_jpeg
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample


def hits_of(*rows: tuple[float, float, float]) -> Hits:
    """Rows of (train time, eval time, cosine)."""
    train, evaluation, cosines = np.array(rows, dtype=float).T
    return train, evaluation, cosines.astype(np.float32)


def test_frames_that_agree_on_a_shift_are_a_match() -> None:
    hits = hits_of((3, 0, 0.9), (4, 1, 0.8), (5, 2, 0.95), (6, 3, 0.85), (0, 9, 0.99))
    match = vote(hits, tolerance_seconds=0.5, least=4)
    assert match.hits == 4
    assert match.offset_seconds == pytest.approx(-3)
    assert match.score == pytest.approx(0.8)
    assert match.evidence == pytest.approx(-np.log([0.1, 0.2, 0.05, 0.15]).sum(), rel=1e-5)
    three = vote(hits, tolerance_seconds=0.5, least=3)
    assert three.score == pytest.approx(0.85)


def test_frames_that_agree_on_no_shift_are_none() -> None:
    hits = hits_of((0, 0, 0.9), (1, 5, 0.9), (2, 12, 0.9), (3, 20, 0.9))
    assert vote(hits, tolerance_seconds=0.5, least=4) is None


def test_one_frame_that_is_like_many_counts_once() -> None:
    """A title card in one video against a still shot in the other is one hit, however many pairs it makes."""
    hits = hits_of(*((7, 7 + i / 10, 0.99) for i in range(5)))
    assert vote(hits, tolerance_seconds=1.0, least=2) is None
    one = vote(hits, tolerance_seconds=1.0, least=1)
    assert one.hits == 1


@pytest.mark.parametrize("shift", [-7.77, -0.5, 0.0, 0.49, 3.2])
def test_shifts_within_a_tolerance_are_in_one_window_wherever_it_lies(shift: float) -> None:
    rows = [
        (t, t + shift + wobble, 0.9)
        for t, wobble in zip(range(6), (0, 0.4, 0.1, 0.35, 0.2, 0.3), strict=True)
    ]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert match.hits == 6
    assert match.offset_seconds == pytest.approx(shift + 0.225)


def test_the_shift_is_that_of_most_evidence_and_the_score_the_best_of_any() -> None:
    """6·log 5 = 9.7 is more than 4·log 10 = 9.2, and less than 4·log 100."""
    rows = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.9) for t in range(4)]
    match = vote(hits_of(*rows), tolerance_seconds=0.5, least=4)
    assert (match.hits, match.offset_seconds) == (6, pytest.approx(0))
    assert match.score == pytest.approx(0.9)
    surer = [(t, t, 0.8) for t in range(6)] + [(t, t + 10, 0.99) for t in range(4)]
    other = vote(hits_of(*surer), tolerance_seconds=0.5, least=4)
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
    table = find_overlap(train, evaluation, STORED, threshold=0.95)
    assert table.schema == OVERLAP_TABLE
    (row,) = table.rows(named=True)
    assert (row["train_video"], row["eval_video"], row["same_packets"]) == ("a.mp4", "later.mp4", False)
    assert (row["hits"], row["train_samples"], row["eval_samples"]) == (6, 1, 1)
    assert row["offset_seconds"] == pytest.approx(-4)
    assert row["score"] == pytest.approx(1, abs=1e-5)
    three = find_overlap(train, evaluation, STORED, threshold=0.95, least_hits=3)
    assert three["eval_video"].sort().to_list() == ["later.mp4", "tail.mp4"]


def test_the_same_packets_are_certain_whatever_the_frames(tmp_path: Path) -> None:
    train = write_build(tmp_path / "train", [walk("a", 0, video_id="x"), walk("b", 0, seed=1)])
    evaluation = write_build(tmp_path / "eval", [walk("c", 0, seed=2, video_id="x"), walk("d", 0, seed=1)])
    table = find_overlap(train, evaluation, STORED, threshold=0.95)
    columns = ["train_video", "eval_video", "same_packets", "hits", "score"]
    first, second = table.select(columns).rows()
    assert first == ("a.mp4", "c.mp4", True, 0, None)
    assert second[:4] == ("b.mp4", "d.mp4", False, 10)


def test_nothing_in_common_is_an_empty_table_and_said(tmp_path: Path) -> None:
    train = write_build(tmp_path / "train", [walk("a", 0)])
    evaluation = write_build(tmp_path / "eval", [walk("b", 0, seed=1)])
    table = find_overlap(train, evaluation, STORED, threshold=0.95)
    assert table.schema == OVERLAP_TABLE
    assert as_overlap_text(table) == "no video in common"


def test_embeddings_need_a_threshold_of_their_own_and_picture_has_one() -> None:
    assert threshold_of("picture", None) == 0.75
    assert threshold_of("clip", 0.9) == 0.9
    with pytest.raises(SettingsError, match="--by clip: give --threshold"):
        threshold_of("clip", None)
    with pytest.raises(SettingsError, match="--threshold: got 1"):
        threshold_of("picture", 1.0)


def build_of(videos: Sequence[Path], root: Path, out: Path) -> Path:
    rows = [
        {"id": path.stem, "video": path.relative_to(root).as_posix(), "question": "What?", "answer": "x"}
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
    table = find_overlap(train, copies, PICTURE)
    assert set(table["train_video"]) == {"videos/basketball.mp4"}
    assert table["eval_video"].sort().to_list() == [
        f"copies/{name}.mp4" for name in ("cropped", "cut", "encoded", "same")
    ]
    rows = {Path(row["eval_video"]).stem: row for row in table.rows(named=True)}
    assert [name for name, row in rows.items() if row["same_packets"]] == ["same"]
    assert rows["cut"]["offset_seconds"] == pytest.approx(-3, abs=0.6)
    assert rows["encoded"]["offset_seconds"] == pytest.approx(0, abs=0.3)
    assert min(row["score"] for row in rows.values()) > 0.85
    assert find_overlap(others, copies, PICTURE).is_empty()


@pytest.mark.slow
def test_no_real_clip_comes_near_another(real: tuple[Path, Path, Path]) -> None:
    train = real[0]
    table = find_overlap(train, train, PICTURE, threshold=0.3)
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


RNG = np.random.default_rng(0)


def a_scene(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Soft grey blobs, as large shapes of a photograph."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_there_are_31_views_and_the_first_is_the_whole_frame() -> None:
    assert len(VIEWS) == len(set(VIEWS)) == 31
    assert VIEWS[0] == ((0, SIDE), (0, SIDE))
    assert all(0 <= a < b <= SIDE for view in VIEWS for a, b in view)


def test_waves_are_orthonormal() -> None:
    for length, rows in COSINES.items():
        assert rows.shape == (FREQUENCIES, length)
        np.testing.assert_allclose(rows @ rows.T, np.eye(FREQUENCIES), atol=1e-12)


def test_descriptors_are_of_unit_length_and_deterministic() -> None:
    frame = a_scene(0)
    vectors = describe(frame)
    assert vectors.shape == (31, 64)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(31), abs=1e-6)
    assert describe(frame).tobytes() == vectors.tobytes()
    assert describe(np.repeat(frame[..., None], 3, axis=2)) @ vectors[0] == pytest.approx(
        vectors @ vectors[0], abs=1e-3
    )


def test_brightness_contrast_and_size_change_nothing() -> None:
    frame = a_scene(1)
    darker = (frame * 0.5 + 20).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(frame).resize((160, 120), Image.Resampling.BOX))
    for other in (darker, smaller):
        assert describe(frame)[0] @ describe(other)[0] > 0.99


def test_a_crop_looks_like_a_view_of_the_whole_and_not_like_the_whole() -> None:
    frame = a_scene(2)
    crop = frame[36:228, 48:304]  # .8 of each side, off centre
    whole, part = describe(frame), describe(crop)[0]
    assert (whole @ part).max() > 0.8
    assert whole[0] @ part < 0.6


def test_other_scenes_are_far_in_every_view() -> None:
    vectors = [describe(a_scene(seed)) for seed in range(10)]
    worst = max((a @ b[0]).max() for i, a in enumerate(vectors) for j, b in enumerate(vectors) if i != j)
    assert worst < 0.75


def test_a_flat_view_is_like_nothing() -> None:
    flat = np.full((100, 100), 17, dtype=np.uint8)
    assert not describe(flat).any()
    half = flat.copy()
    half[:, :20] = 200
    vectors = describe(half)
    lengths = np.linalg.norm(vectors, axis=1)
    assert set(lengths.round(5)) == {0.0, 1.0}
    assert lengths[0] == pytest.approx(1)


DEMO = ScoreSettings(scorer="demo", batch_size=16)


def in_video(sample_id: str, video: str, **changes: object) -> Sample:
    sample = a_sample(sample_id, **changes)  # type: ignore[arg-type]
    return replace(sample, meta=replace(sample.meta, question=a_question(sample_id, video=video)))


def test_samples_of_a_video_are_read_together_and_videos_apart(tmp_path: Path) -> None:
    samples = [in_video("1", "a"), in_video("2", "b"), in_video("3", "a", frames="all")]
    folder = write_build(tmp_path / "built", samples)
    video = list(read_video_vectors(folder, PICTURE))
    assert [(f.video, f.samples) for f in video] == [("a", 2), ("b", 1)]
    assert video[0].times.tolist() == samples[0].times.tolist()
    assert video[1].times.tolist() == samples[1].times[samples[1].stored].tolist()
    assert video[0].vectors.shape == (10, 31, 64)
    assert video[0].spacing_seconds == pytest.approx(1)


def test_frames_stand_in_the_order_of_time_each_once() -> None:
    first, second = a_sample("1"), a_sample("2", frames="all")
    frames = stored_frames([first, second])
    assert list(frames) == list(range(10))
    assert list(frames.values()) == list(second.jpegs)


def test_stored_embeddings_are_those_of_all_candidates(tmp_path: Path) -> None:
    embeds = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float16)
    folder = write_build(tmp_path / "with", [replace(a_sample(), embeds=embeds)])
    (video,) = read_video_vectors(folder, STORED)
    assert video.vectors.shape == (10, 1, 8)
    assert np.linalg.norm(video.vectors, axis=2) == pytest.approx(np.ones((10, 1)), abs=1e-6)
    without = write_build(tmp_path / "without", [a_sample()])
    with pytest.raises(UsageError, match=r"no embeddings; build with --set shard.embeds=true"):
        list(read_video_vectors(without, STORED))


def test_a_scorer_embeds_the_stored_frames(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    sample = a_sample(frames="all")
    sample = replace(sample, jpegs=(*sample.jpegs[:9], encode_jpeg(noise, 90)))
    (video,) = read_video_vectors(write_build(tmp_path / "b", [sample]), embed_by("demo", DEMO))
    assert video.vectors.shape == (10, 1, 64)
    assert video.vectors[9, 0] @ video.vectors[8, 0] < 0.99 < video.vectors[8, 0] @ video.vectors[7, 0]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown scorer 'clap'"):
        embed_by("clap", ScoreSettings(scorer="clap"))
    with pytest.raises(UsageError, match="no samples"):
        list(read_video_vectors(write_build(tmp_path / "none", []), PICTURE))
    with pytest.raises(UsageError, match="no such folder"):
        list(read_video_vectors(tmp_path / "x", PICTURE))
