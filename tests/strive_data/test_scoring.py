from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from strive_data.cache import KeptVideo, MissedVideo, read_entry
from strive_data.config import BuildSettings, SamplerSettings
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score import FrameScores
from strive_data.scoring import open_cache, require_embeddings, score_video
from strive_data.stills import stills_of
from tests.strive_data.samples import a_question, build_settings, some_candidates


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
        return frames.mean(axis=(1, 2, 3), dtype=np.float32)[:, None]

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
        with pytest.raises(SettingsError, match=f"{name} needs frame embeddings"):
            require_embeddings(Plain(), settings)
        require_embeddings(Embeds(), settings)
    require_embeddings(Plain(), BuildSettings())


def test_a_cache_is_refused_for_a_scorer_that_needs_frames(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--cache needs frame embeddings"):
        open_cache(tmp_path, Plain(), BuildSettings())
    assert open_cache(tmp_path, Embeds(), BuildSettings()).identity == "one number"


def test_a_missed_video_is_kept_and_a_kept_one_needs_no_frames(tmp_path: Path) -> None:
    scorer, entry = Embeds(), tmp_path / "ab" / "ab.npz"
    missed = MissedVideo(candidates=some_candidates(), entry=entry, damaged=None)
    stills, scored = score_video(missed, [a_question("1")], scorer, quality=90)
    assert scorer.frames_seen == 10
    kept = read_entry(entry)
    assert kept is not None
    old, again = score_video(kept, [a_question("1"), a_question("2")], scorer, quality=90)
    assert scorer.frames_seen == 10
    assert list(old.jpegs) == list(stills.jpegs)
    assert isinstance(again[1], FrameScores)
    assert isinstance(scored[0], FrameScores)
    np.testing.assert_array_equal(again[1].scores, scored[0].scores)


def test_a_video_without_one_scored_question_is_not_kept(tmp_path: Path) -> None:
    entry = tmp_path / "ab.npz"
    missed = MissedVideo(candidates=some_candidates(), entry=entry, damaged=None)
    _, scored = score_video(missed, [a_question(question="")], Embeds(), quality=90)
    assert isinstance(scored[0], SampleError)
    assert not entry.exists()
    score_video(missed, [a_question(question=""), a_question()], Embeds(), quality=90)
    assert entry.exists()


def test_a_kept_video_for_a_scorer_of_frames_is_a_defect() -> None:
    kept = KeptVideo(stills=stills_of(some_candidates(), 90), embeddings=np.zeros((10, 1), np.float32))
    with pytest.raises(TypeError, match="plain was given a kept video"):
        score_video(kept, [a_question()], Plain(), quality=90)
