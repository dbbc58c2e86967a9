from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.decord_reader import DecordReader
from strive_data.decode.pyav_reader import PyavReader
from strive_data.errors import FailureKind, SampleError, UsageError

from .conftest import CLOSED, CORPUS, Clip, numbers_of

pytest.importorskip("decord", reason="decord exists for x86-64 only")

EXACT = DecodeSettings(candidates=16, multiple=1, max_pixels=1 << 20)
KNOWN_EXACT = [clip for clip in CORPUS if clip.name in ("closed.mp4", "vfr.mp4", "vp9.webm", "single.mp4")]


@pytest.mark.parametrize("clip", KNOWN_EXACT, ids=[clip.name for clip in KNOWN_EXACT])
def test_agrees_with_the_planned_reader_where_decord_is_exact(
    make_clip: Callable[[Clip], Path], clip: Clip
) -> None:
    path = make_clip(clip)
    planned, decord = PyavReader().read(path, EXACT), DecordReader().read(path, EXACT)
    assert numbers_of(decord.frames) == numbers_of(planned.frames)
    np.testing.assert_allclose(decord.times, planned.times, atol=2e-3)
    assert decord.info.video_id == planned.info.video_id
    assert (decord.info.reader, decord.info.width, decord.info.height) == ("decord", 160, 96)
    assert np.abs(decord.frames.astype(int) - planned.frames).mean() < 4  # other conversion to RGB


def test_bar_codes_show_where_decord_is_wrong(make_clip: Callable[[Clip], Path]) -> None:
    """The control of the corpus: why decord comes second, and that these tests would notice."""
    clip = next(clip for clip in CORPUS if clip.name == "open.ts")
    got = DecordReader(trusting=True).read(make_clip(clip), EXACT)
    numbers = np.array(numbers_of(got.frames))
    assert np.mean(np.abs(numbers - got.times * 25) > 0.5) > 0.5


def test_damaged_real_file_is_a_failure(shared_data: Path) -> None:
    with pytest.raises(SampleError) as caught:
        DecordReader().read(shared_data / "videos" / "corrupted.mp4", DecodeSettings(candidates=32))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


def test_without_decord_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(UsageError, match=r"set decode\.reader to 'pyav'"):
        DecordReader()


def test_same_refusals_as_the_planned_reader(make_clip: Callable[[Clip], Path], tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(SampleError) as caught:
        DecordReader().read(tmp_path / "notes.mp4", EXACT)
    assert caught.value.kind is FailureKind.NOT_MEDIA
    assert DecordReader().read(make_clip(CLOSED), EXACT).info.decode_errors == 0
