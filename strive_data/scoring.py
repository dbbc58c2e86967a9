"""One video, decoded just now or kept from before → its stills, and the scores of its questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strive_data.cache import KeptVideo, MissedVideo, VideoCache, check_cache_folder, write_entry
from strive_data.config import BuildSettings
from strive_data.errors import SampleError, SettingsError
from strive_data.schema import Candidates, Floats, Question
from strive_data.score import EmbeddingScorer, FrameEmbedder, FrameScores, Scorer
from strive_data.score.flat import NAME as FLAT
from strive_data.stills import Stills, stills_of

Video = Candidates | MissedVideo | KeptVideo
Scored = Sequence[FrameScores | SampleError]


def require_embeddings(scorer: Scorer, settings: BuildSettings) -> None:
    """Raise SettingsError where a setting needs frame embeddings and the scorer gives none."""
    grouped = settings.sampler.grouping != "none"
    for asked, name in ((grouped, "sampler.grouping"), (settings.shard.embeds, "shard.embeds")):
        if asked and (not isinstance(scorer, FrameEmbedder) or scorer.name == FLAT):
            raise SettingsError(_no_embeddings(name, settings))


def open_cache(folder: Path, scorer: Scorer, settings: BuildSettings) -> VideoCache:
    """The cache of videos embedded by this scorer. Raises SettingsError for a scorer that reads more than
    frame embeddings, UsageError for a folder that cannot be written."""
    if not isinstance(scorer, EmbeddingScorer):
        raise SettingsError(_no_embeddings("--cache", settings))
    check_cache_folder(folder)
    return VideoCache(folder=folder, identity=scorer.embedding_identity(), quality=settings.shard.quality)


def score_video(
    video: Video,
    questions: Sequence[Question],
    scorer: Scorer,
    *,
    quality: int,
    embeddings: Floats | None = None,
) -> tuple[Stills, Scored]:
    """Stills and one result a question; what the cache missed is kept now.

    `embeddings` float32 [N, D] are those of the video's frames where they are known already (batching.py).
    Raises SampleError for frames that cannot be scored, or not encoded where all are to be kept.
    """
    if isinstance(video, KeptVideo):
        if not isinstance(scorer, EmbeddingScorer):
            raise TypeError(f"{scorer.name} was given a kept video, but scores no embeddings")
        return video.stills, scorer.score_embeddings(video.embeddings, questions)
    candidates = video.candidates if isinstance(video, MissedVideo) else video
    stills = stills_of(candidates, quality)
    if embeddings is not None and isinstance(scorer, EmbeddingScorer):
        scored = scorer.score_embeddings(embeddings, questions)
    else:
        scored = scorer.score(candidates, questions)
    if isinstance(video, MissedVideo) and video.entry is not None:
        _keep(video.entry, stills, scored)
    return stills, scored


def _keep(entry: Path, stills: Stills, scored: Scored) -> None:
    """Nothing is kept where not one question could be scored: there are no embeddings then."""
    results = (result for result in scored if isinstance(result, FrameScores))
    embeddings = next((result.embeddings for result in results), None)
    if embeddings is not None:
        write_entry(entry, stills, embeddings)


def _no_embeddings(what: str, settings: BuildSettings) -> str:
    return (
        f"{what} needs frame embeddings, and the scorer {settings.score.scorer!r} gives none: "
        "leave it out, or use a scorer that does (clip, demo)"
    )
