"""The corpus of tools/barcodes, each clip encoded once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.barcodes import Clip, encode


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Clip], Path]:
    """Encode a clip once a session."""
    folder = tmp_path_factory.mktemp("corpus")
    made: dict[str, Path] = {}

    def make(clip: Clip) -> Path:
        if clip.name not in made:
            made[clip.name] = encode(clip, folder)
        return made[clip.name]

    return make
