"""Offline half of STRIVE: from videos and questions to scored, sampled, sharded training data.

The public Python interface (`strive_data.build.api`); each name is imported when it is first used:

    select_frames    the frames of a video that matter for a question, in several variants
    open_build       the samples and tables of a finished build
    SelectedFrames   what both give for one question: indices, times, scores, images of each variant
    StoredBuild      a finished build
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strive_data.build.api import SelectedFrames, StoredBuild, open_build, select_frames

__version__ = "0.1.0"
SCHEMA_VERSION = 1
"""Of the files of a build."""
__all__ = ["SelectedFrames", "StoredBuild", "open_build", "select_frames"]


def __getattr__(name: str) -> Any:
    from strive_data.common.imports import public

    return public(__name__, name, {"strive_data.build.api": __all__})


def __dir__() -> list[str]:
    return [*globals(), *__all__]
