from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates, reader
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, VideoInfo
from tools.barcodes.clip import Clip, numbers_of
from tools.barcodes.corpus import CLOSED


class FailingReader:
    """Stands for a reader that fails on every file in one way."""

    name, version = "pyav", "0"
    kind = FailureKind.UNSUPPORTED_CODEC

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        raise SampleError(self.kind, f"{path}: first")


class SecondReader:
    """Stands for a reader that reads what the first one cannot."""

    name, version = "decord", "0"

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        info = VideoInfo(
            video_id="x", duration_seconds=1.0, width=1, height=1, reader="decord", reader_version="0"
        )
        return Candidates(info=info, frames=np.zeros((1, 1, 1, 3), np.uint8), times=np.zeros(1))


@pytest.mark.parametrize(("name", "used"), [("auto", "pyav"), ("pyav", "pyav"), ("decord", "decord")])
def test_reader_by_name(make_clip: Callable[[Clip], Path], name: str, used: str) -> None:
    settings = DecodeSettings(reader=name, candidates=8, multiple=1)  # type: ignore[arg-type]
    got = read_candidates(make_clip(CLOSED), settings)
    assert got.info.reader == used
    assert numbers_of(got.frames) == [5, 16, 28, 39, 50, 61, 73, 84]


def test_second_reader_gets_what_the_first_fails_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PyavReader", FailingReader)
    monkeypatch.setattr(reader, "DecordReader", SecondReader)
    assert read_candidates(Path("v"), DecodeSettings()).info.reader == "decord"
    with pytest.raises(SampleError, match="first"):
        read_candidates(Path("v"), DecodeSettings(reader="pyav"))


def test_what_is_no_video_gets_no_second_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailingReader, "kind", FailureKind.NOT_MEDIA)
    monkeypatch.setattr(reader, "PyavReader", FailingReader)
    monkeypatch.setattr(reader, "DecordReader", SecondReader)
    with pytest.raises(SampleError) as caught:
        read_candidates(Path("v"), DecodeSettings())
    assert caught.value.kind is FailureKind.NOT_MEDIA


def test_both_failing_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PyavReader", FailingReader)
    monkeypatch.setattr(reader, "DecordReader", FailingReader)
    with pytest.raises(SampleError, match=r"first; decord: .*first") as caught:
        read_candidates(Path("v"), DecodeSettings())
    assert caught.value.kind is FailureKind.UNSUPPORTED_CODEC


def test_decoding_imports_no_torch(make_clip: Callable[[Clip], Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from strive_data.config import DecodeSettings;"
        "import strive_data.engines.local; from strive_data.decode import read_candidates;"
        "settings = [DecodeSettings(candidates=4, reader=name) for name in ('pyav', 'decord')];"
        "[read_candidates(Path(sys.argv[1]), s) for s in settings];"
        "print(sorted({'torch', 'transformers', 'open_clip'} & set(sys.modules)))"
    )
    path = str(make_clip(CLOSED))
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
