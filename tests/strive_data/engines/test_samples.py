from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from strive_data.config import BuildSettings, DecodeSettings, SamplerSettings
from strive_data.engines.cache import CacheHit, CacheMiss, read_entry
from strive_data.engines.engine import Stopwatch
from strive_data.engines.local import make_sample, open_cache, require_embeddings, samples_of, score_video
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.sampling.comb import comb_offset
from strive_data.schema import Candidates, FailedRow, Floats, Frames, Question, Sample
from strive_data.score import FrameScores
from strive_data.shards.format import encode_frames
from tests.strive_data.made.samples import a_question, a_sample, build_settings, some_candidates


class Plain:
    """Scores by brightness; knows no embeddings."""

    name = "plain"

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        scores = candidates.frames.mean(axis=(1, 2, 3), dtype=np.float32)
        return [FrameScores(scores=scores, windows=1, scorer=self.name) for _ in questions]


class Embeds:
    """The same by an embedding of one number; an empty question fails. Counts the frames it has seen."""

    name = "embeds"

    def __init__(self) -> None:
        self.frames_seen = 0

    def embedding_identity(self) -> str:
        return "one number"

    def embed_frames(self, frames: Frames) -> Floats:
        self.frames_seen += len(frames)
        return frames.mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / 255

    def embedding_size(self) -> int:
        return 1

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        return self.score_embeddings(self.embed_frames(candidates.frames), questions)

    def score_embeddings(
        self, frames_ND: Floats, questions: Sequence[Question]
    ) -> list[FrameScores | SampleError]:
        return [
            FrameScores(scores=frames_ND[:, 0], windows=1, scorer=self.name, embeddings=frames_ND)
            if question.question
            else SampleError(FailureKind.SCORE_FAILED, "no query")
            for question in questions
        ]


def test_settings_that_need_embeddings_are_refused_for_a_scorer_without() -> None:
    grouped = BuildSettings(sampler=SamplerSettings(grouping="semantic"))
    for settings, name in ((grouped, "sampler.grouping"), (build_settings(embeds=True), "shard.embeds")):
        with pytest.raises(SettingsError, match=rf"{name} needs frame embeddings.*--set {name}="):
            require_embeddings(Plain(), settings)
        require_embeddings(Embeds(), settings)
    require_embeddings(Plain(), BuildSettings())
    without_order = BuildSettings(sampler=SamplerSettings(name="topk", grouping="semantic"))
    with pytest.raises(SettingsError, match="sampler 'topk', only for comb and peaks"):
        require_embeddings(Embeds(), without_order)


def test_a_cache_is_refused_for_a_scorer_that_needs_frames(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--cache needs frame embeddings"):
        open_cache(tmp_path, Plain(), BuildSettings())
    assert open_cache(tmp_path, Embeds(), BuildSettings()).identity == "one number"


def test_a_missed_video_is_kept_and_a_kept_one_needs_no_frames(tmp_path: Path) -> None:
    scorer, entry = Embeds(), tmp_path / "ab" / "ab.npz"
    missed = CacheMiss(candidates=some_candidates(), entry=entry, damaged_entry=None)
    encoded, scored = score_video(missed, [a_question("1")], scorer, quality=90)
    assert scorer.frames_seen == 10
    kept = read_entry(entry, DecodeSettings(candidates=10), 1)
    assert kept is not None
    old, again = score_video(kept, [a_question("1"), a_question("2")], scorer, quality=90)
    assert scorer.frames_seen == 10
    assert old.jpegs == encoded.jpegs
    np.testing.assert_array_equal(again[1].scores, scored[0].scores)


def test_a_video_without_one_scored_question_is_not_kept(tmp_path: Path) -> None:
    entry = tmp_path / "ab.npz"
    missed = CacheMiss(candidates=some_candidates(), entry=entry, damaged_entry=None)
    _, scored = score_video(missed, [a_question(question="")], Embeds(), quality=90)
    assert isinstance(scored[0], SampleError)
    assert not entry.exists()
    score_video(missed, [a_question(question=""), a_question()], Embeds(), quality=90)
    assert entry.exists()


def test_a_kept_video_for_a_scorer_of_frames_is_a_defect() -> None:
    kept = CacheHit(frames=encode_frames(some_candidates(), 90), embeddings=np.zeros((10, 1), np.float32))
    with pytest.raises(TypeError, match="plain was given a cached video"):
        score_video(kept, [a_question()], Plain(), quality=90)


def test_the_stored_frames_are_those_that_variants_and_control_need() -> None:
    sample = a_sample()
    assert sample.variants.shape == (2, 4)
    assert sample.uniform.tolist() == [1, 3, 6, 8]
    assert set(sample.stored) == set(sample.variants.ravel()) | {1, 3, 6, 8}
    assert len(sample.jpegs) == len(sample.stored)


def test_each_stored_jpeg_is_the_frame_of_its_candidate() -> None:
    sample = a_sample(frames="all")
    assert sample.holds_all
    for i, jpeg in zip(sample.stored, sample.jpegs, strict=True):
        frame = simplejpeg.decode_jpeg(jpeg)
        assert frame.shape == (28, 56, 3)
        assert abs(int(frame.mean().round()) - 10 * int(i)) <= 1


def test_the_phase_is_recorded_and_keyed_by_the_sample() -> None:
    first, second = a_sample("1"), a_sample("2")
    assert first.meta.sampler["phase"] == comb_offset(0, "1", 0) != second.meta.sampler["phase"]


def test_a_video_with_fewer_frames_than_a_variant_gives_all() -> None:
    assert a_sample(count=3).variants.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("scores", [np.zeros(9, np.float32), np.full(10, np.nan, np.float32)])
def test_unusable_scores_are_a_failure_of_the_sample(scores: np.ndarray) -> None:
    scored = FrameScores(scores=scores, windows=1, scorer="by hand")
    with pytest.raises(SampleError) as caught:
        make_sample(a_question(), encode_frames(some_candidates(), 90), scored, build_settings())
    assert caught.value.kind is FailureKind.SCORE_FAILED


def grouped(**shard: object) -> BuildSettings:
    plain = build_settings(**shard)
    return replace(plain, sampler=replace(plain.sampler, grouping="semantic", grouping_clusters=2))


def scored_with_embeddings() -> FrameScores:
    """Ten frames of two kinds in turns of five."""
    embeddings = np.repeat(np.eye(2, 3, dtype=np.float32), 5, axis=0)
    return FrameScores(
        scores=np.linspace(0, 1, 10, dtype=np.float32), windows=1, scorer="x", embeddings=embeddings
    )


def test_grouping_gets_the_embeddings_and_its_clusters_stay_with_the_sample() -> None:
    sample = make_sample(
        a_question(), encode_frames(some_candidates(), 90), scored_with_embeddings(), grouped()
    )
    assert sample.clusters.tolist() == [0] * 5 + [1] * 5
    assert sample.embeds is None
    assert a_sample().clusters is None


def test_embeddings_are_stored_as_half_floats_where_asked_for() -> None:
    scored = scored_with_embeddings()
    sample = make_sample(a_question(), encode_frames(some_candidates(), 90), scored, grouped(embeds=True))
    assert sample.embeds.dtype == np.float16
    np.testing.assert_array_equal(sample.embeds, np.repeat(np.eye(2, 3), 5, axis=0))
    without = replace(scored, embeddings=None)
    with pytest.raises(SettingsError, match="gives no frame embeddings"):
        make_sample(a_question(), encode_frames(some_candidates(), 90), without, build_settings(embeds=True))


class CountingScorer:
    """Counts how often a video's frames are scored; fails one question by a score that is not finite."""

    name = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        self.calls += 1
        if len(candidates.frames) == 3:
            raise SampleError(FailureKind.SCORE_FAILED, "three frames")
        return [self._one(len(candidates.frames), question.sample_id) for question in questions]

    def _one(self, count: int, sample_id: str) -> FrameScores | SampleError:
        if sample_id == "absent":
            return SampleError(FailureKind.SCORE_FAILED, "no scores")
        scores = np.full(count, np.nan if sample_id == "bad" else 0.5, np.float32)
        return FrameScores(scores=scores, windows=2, scorer="counting")


def test_all_questions_of_a_video_are_scored_in_one_call() -> None:
    scorer = CountingScorer()
    rows = [(i, a_question(name)) for i, name in enumerate(("a", "bad", "absent", "c"))]
    watch = Stopwatch()
    results = list(samples_of(rows, some_candidates(), scorer, build_settings(), stopwatch=watch))
    assert watch.seconds["model"] > 0 < watch.seconds["encode"]
    assert watch.seconds["decode"] == watch.seconds["write"] == 0
    assert scorer.calls == 1
    assert [type(result) for result in results] == [Sample, FailedRow, FailedRow, Sample]
    failures = [result for result in results if isinstance(result, FailedRow)]
    assert [(failure.row, failure.sample_id, failure.stage) for failure in failures] == [
        (1, "bad", "sample"),
        (2, "absent", "score"),
    ]
    assert (results[0].meta.scorer, results[0].meta.query_windows) == ("counting", 2)


def test_a_video_that_fails_gives_one_row_for_each_of_its_questions() -> None:
    rows = [(4, a_question("a")), (7, a_question("b"))]
    error = SampleError(FailureKind.NO_MOOV, "cut off")
    decoded = list(samples_of(rows, error, CountingScorer(), build_settings()))
    scored = list(samples_of(rows, some_candidates(3), CountingScorer(), build_settings()))
    for results, stage, kind in ((decoded, "decode", "no_moov"), (scored, "score", "score_failed")):
        assert [(f.row, f.stage, f.kind) for f in results if isinstance(f, FailedRow)] == [
            (4, stage, kind),
            (7, stage, kind),
        ]


@pytest.mark.parametrize(
    ("problem_type", "answer", "fails"),
    [
        ("temporal grounding", "1 to 2; 100 to 101", True),
        ("temporal grounding", "4 to 5", True),
        ("temporal grounding", "3.5 to 999", False),
        ("free-form", "100 to 101", False),
    ],
)
def test_a_span_that_begins_after_the_video_is_no_answer(problem_type: str, answer: str, fails: bool) -> None:
    candidates = some_candidates(8)
    candidates = replace(candidates, info=replace(candidates.info, duration_seconds=4.0))
    question = replace(a_question("0"), problem_type=problem_type, answer=answer)
    scored = FrameScores(scores=np.arange(8, dtype=np.float32), windows=1, scorer="plain")

    def make() -> Sample:
        return make_sample(question, encode_frames(candidates, 90), scored, build_settings())

    if fails:
        with pytest.raises(SampleError, match=r"begins after the end of the video; .* 0 to 4\.000") as caught:
            make()
        assert caught.value.kind == FailureKind.BAD_ROW
    else:
        assert make().meta.question.answer == answer
