"""What lives on the machines of a cluster: one process that has videos decoded, and one that scores them.

Plain classes, without Ray: flow.py makes actors of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from strive_data.config import BuildSettings, DecodeSettings
from strive_data.engines.batching import embed_videos
from strive_data.engines.cache import VideoCache
from strive_data.engines.decode_pool import DecodingPool
from strive_data.engines.engine import VideoJob, VideoPath, VideoResult
from strive_data.engines.fetch import FetchedRead
from strive_data.engines.local import TimedRead, video_result
from strive_data.engines.results import Video, open_cache, require_embeddings
from strive_data.errors import SampleError
from strive_data.schema import LocalVideo
from strive_data.score import Scorer, make_scorer
from strive_data.shards.provenance import package_versions


class DecodeHost:
    """Has one video after the other decoded in a killable process of its own, with the limits of the local
    engine: a video that hangs or kills its decoder costs neither this host nor another video."""

    def __init__(self, settings: DecodeSettings, read: Callable[[LocalVideo, DecodeSettings], Video]) -> None:
        self._pool = DecodingPool(settings, 1, read=TimedRead(FetchedRead(read)))

    def versions(self) -> Mapping[str, str | None]:
        """Versions of the packages where this host lives."""
        return package_versions()

    def close(self) -> None:
        """End the process that decodes."""
        self._pool.close()

    def decode(self, path: VideoPath) -> tuple[float | SampleError, Video | None]:
        """The seconds that reading took and the video, or why it cannot be used and None.

        Two values, so that the driver looks at the first alone. Errors of the code are raised.
        """
        read = self._pool.result(self._pool.submit(path))
        if isinstance(read, SampleError):
            return read, None
        video, seconds = read
        return seconds, video


class ScoreHost:
    """Scores and samples decoded videos with one scorer, loaded when it is first needed.

    Not in the constructor: what that raises reaches the driver as an actor that died, without its class.
    """

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings

    @cached_property
    def _scorer(self) -> Scorer:
        scorer = make_scorer(self._settings.score)
        require_embeddings(scorer, self._settings)
        return scorer

    def versions(self) -> Mapping[str, str | None]:
        """Versions of the packages where this host lives, once the scorer is loaded.

        Raises SettingsError and UsageError for a scorer that cannot be had with these settings.
        """
        self._scorer  # noqa: B018  # loaded for what it raises
        return package_versions()

    def open_cache(self, folder: Path) -> VideoCache:
        """The cache of videos embedded by this scorer; raises what `scoring.open_cache` does."""
        return open_cache(folder, self._scorer, self._settings)

    def score(self, job: VideoJob, video: Video, decode_seconds: float) -> VideoResult:
        """The result of a job. One video at a time: an embedding's bits do not depend on its batch."""
        results = [
            video_result(job, done, self._scorer, self._settings, decode_seconds=decode_seconds)
            for done in embed_videos([(job.name, video)], self._scorer)
        ]
        return results[0]
