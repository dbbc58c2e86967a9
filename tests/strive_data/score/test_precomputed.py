from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.build.pipeline import build
from strive_data.build.progress import BuildProgress
from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings, ScoreSettings
from strive_data.demo.draw import write_world
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import sample_key
from strive_data.score import FrameScores, make_scorer
from strive_data.score.scorer import Scorer
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_question, a_sample
from tests.strive_data.score.videos import video_of

VIDEO = video_of(np.zeros((4, 2, 2, 3), dtype=np.uint8))  # times .5, 1.5, 2.5, 3.5


def scorer_of(path: Path) -> Scorer:
    return make_scorer(ScoreSettings(scorer="precomputed", scores=str(path)))


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def by_candidate(sample_id: object, scores: list[float | None], **more: object) -> list[dict[str, object]]:
    return [{"sample_id": sample_id, "candidate": i, "score": s} | more for i, s in enumerate(scores)]


def message_of(result: FrameScores | SampleError) -> str:
    assert result.kind == FailureKind.SCORE_FAILED
    return result.message


def test_rows_in_any_order_give_scores_by_candidate(tmp_path: Path) -> None:
    rows = by_candidate("a", [0.5, -1.0, 2.0, 7.25]) + by_candidate("b", [1.0, 2.0, 3.0, 4.0])
    scorer = scorer_of(table(tmp_path / "s.parquet", rows[::-1]))
    b, a = scorer.score(VIDEO, [a_question("b"), a_question("a")])
    assert a.scores.tolist() == [0.5, -1.0, 2.0, 7.25]
    assert b.scores.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (a.scores.dtype, a.windows, a.scorer) == (np.float32, 1, "precomputed/s.parquet")


def test_ids_that_are_numbers_in_the_table_are_the_annotations_texts(tmp_path: Path) -> None:
    (scored,) = scorer_of(table(tmp_path / "s.parquet", by_candidate(7, [1, 2, 3, 4]))).score(
        VIDEO, [a_question("7")]
    )
    assert scored.scores.tolist() == [1, 2, 3, 4]


def test_each_candidate_takes_the_score_nearest_in_time(tmp_path: Path) -> None:
    """Candidates at .5, 1.5, 2.5, 3.5; a share of the video is 1 s, so half is .5 s."""
    times = [3.4, 0.0, 0.6, 1.5, 2.9]
    rows = [{"sample_id": "a", "time": time, "score": 10 * time} for time in times]
    (scored,) = scorer_of(table(tmp_path / "s.parquet", rows)).score(VIDEO, [a_question("a")])
    assert scored.scores == pytest.approx([6.0, 15.0, 29.0, 34.0])
    (far,) = scorer_of(table(tmp_path / "t.parquet", rows[:4])).score(VIDEO, [a_question("a")])
    assert "nearest to candidate 2 at 2.500 s is 0.900 s away" in message_of(far)


def test_the_frames_table_of_a_build_is_such_a_file(tmp_path: Path) -> None:
    folder = write_build(tmp_path / "build", [a_sample()])
    frames = pl.read_parquet(folder / "frames.parquet")
    sample_id = frames["sample_id"][0]
    mine = frames.filter(sample_id=sample_id).sort("candidate")
    video = video_of(np.zeros((mine.height, 2, 2, 3), dtype=np.uint8))
    video.times[:] = mine["time"].to_numpy()
    (scored,) = scorer_of(folder / "frames.parquet").score(video, [a_question(sample_id)])
    assert scored.scores.tolist() == mine["score"].to_list()
    video.times[3] += 0.25
    (other,) = scorer_of(folder / "frames.parquet").score(video, [a_question(sample_id)])
    assert "candidate 3 is at" in message_of(other)
    assert "scores of other candidates" in message_of(other)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (by_candidate("b", [1, 2, 3, 4]), "sample 'a': no rows"),
        (by_candidate("a", [1, 2, 3]), "3 rows whose candidates are not 0 to 3"),
        (by_candidate("a", [1, 2, 3, 4, 5]), "5 rows whose candidates"),
        (by_candidate("a", [1, 2, 3]) + by_candidate("a", [1]), "4 rows whose candidates"),
        (by_candidate("a", [1, 2, float("nan"), 4]), "1 of 4 scores are not finite"),
        (by_candidate("a", [1.0, 2, None, 4]), "1 of 4 scores are not finite"),
        (by_candidate("a", [1, 2, 1e39, 4]), "1 of 4 scores are not finite in float32"),
    ],
)
def test_rows_that_do_not_fit_cost_their_own_sample_only(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    good = by_candidate("good", [1.0, 2.0, 3.0, 4.0])
    bad, kept = scorer_of(table(tmp_path / "s.parquet", rows + good)).score(
        VIDEO, [a_question("a"), a_question("good")]
    )
    assert message in message_of(bad)
    assert isinstance(kept, FrameScores)


def test_a_folder_holds_one_array_a_sample(tmp_path: Path) -> None:
    odd = "clip/7 é"
    np.save(tmp_path / f"{sample_key(odd)}.npy", np.array([4, 3, 2, 1]))
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "wide.npy", np.ones((4, 1)))
    np.save(tmp_path / "inf.npy", np.array([1, np.inf, 2, 3]))
    np.save(tmp_path / "text.npy", np.array(["a", "b", "c", "d"]))
    np.save(tmp_path / "pickle.npy", np.array([1, None, 2, 3], dtype=object), allow_pickle=True)
    (tmp_path / "rubbish.npy").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "empty.npy").write_bytes(b"")
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, x=np.ones(4))
    names = ["short", "wide", "inf", "text", "pickle", "rubbish", "empty", "archive", "absent"]
    kept, *bad = scorer_of(tmp_path).score(VIDEO, [a_question(name) for name in [odd, *names]])
    assert kept.scores.tolist() == [4, 3, 2, 1]
    parts = [
        "float64 of shape [3], expected a number for each of 4",
        "of shape [4, 1]",
        "1 of 4 scores are not finite",
        "text.npy",
        "pickle.npy",
        "rubbish.npy",
        "empty.npy",
        "archive.npy",
        "no file absent.npy",
    ]
    for result, part in zip(bad, parts, strict=True):
        assert part in message_of(result)


def test_what_is_no_file_of_scores_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"score\.scores: not set; --scorer precomputed reads"):
        make_scorer(ScoreSettings(scorer="precomputed"))
    with pytest.raises(UsageError, match="no such file or folder"):
        scorer_of(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("sample_id,score\n")
    with pytest.raises(UsageError, match="cannot be read as parquet"):
        scorer_of(tmp_path / "text.parquet")
    with pytest.raises(UsageError, match=r"columns sample_id, score; expected .*candidate"):
        scorer_of(table(tmp_path / "two.parquet", [{"sample_id": "a", "score": 1.0}]))
    with pytest.raises(UsageError, match=r"words\.parquet: "):
        scorer_of(table(tmp_path / "words.parquet", [{"sample_id": "a", "score": "high", "candidate": 0}]))


def test_a_build_from_the_scores_of_another_takes_the_same_frames(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", videos=2, questions_per_video=2, seed=5)
    settings = BuildSettings(
        decode=DecodeSettings(candidates=12, max_pixels=784),
        score=ScoreSettings(scorer="demo", device="cpu", batch_size=4),
        sampler=SamplerSettings(frames=4),
    )
    first, second = tmp_path / "first", tmp_path / "second"
    looked_up = ScoreSettings(scorer="precomputed", scores=str(first / "frames.parquet"))
    for out, made in ((first, settings), (second, replace(settings, score=looked_up))):
        with BuildProgress() as progress:
            build([world], data_root=world.parent, out=out, settings=made, observer=progress, workers=1)
    frames = [pl.read_parquet(folder / "frames.parquet") for folder in (first, second)]
    assert frames[0].height == 4 * 12
    assert frames[0].equals(frames[1])
