from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from tools.barcodes.clip import Clip, numbers_of
from tools.barcodes.corpus import CLOSED


@pytest.mark.parametrize(("name", "used"), [("auto", "pyav"), ("pyav", "pyav"), ("decord", "decord")])
def test_reader_by_name(make_clip: Callable[[Clip], Path], name: str, used: str) -> None:
    settings = DecodeSettings(reader=name, candidates=8, multiple=1)  # type: ignore[arg-type]
    got = read_candidates(make_clip(CLOSED), settings)
    assert got.info.reader == used
    assert numbers_of(got.frames) == [5, 16, 28, 39, 50, 61, 73, 84]


def test_decoding_imports_no_torch(make_clip: Callable[[Clip], Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from strive_data.config import DecodeSettings;"
        "import strive_data.engines.decode_pool; from strive_data.decode import read_candidates;"
        "settings = [DecodeSettings(candidates=4, reader=name) for name in ('pyav', 'decord')];"
        "[read_candidates(Path(sys.argv[1]), s) for s in settings];"
        "print(sorted({'torch', 'transformers', 'open_clip'} & set(sys.modules)))"
    )
    path = str(make_clip(CLOSED))
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
