from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.decord_reader import read_by_decord, why_inexact
from strive_data.decode.packet_index import PacketIndex
from strive_data.decode.packet_scan import Packet
from strive_data.decode.pyav_reader import read_video
from strive_data.decode.store import Orientation
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates
from tests.strive_data.decode.made_checks import MakeClip
from tools.barcodes import CLOSED, CORPUS, Clip, numbers_of

MOV = frozenset({"mov", "mp4"})


def packet(pts: int, *, key: bool = False, shown: bool = True) -> Packet:
    return Packet(pts=pts, dts=pts, duration=10, size_bytes=5, is_key=key, is_shown=shown)


CLOSED_EXACT = PacketIndex(
    packets=(packet(0, key=True), packet(20), packet(10), packet(30, key=True)),
    pts=np.array([0, 10, 20, 30]),
    places=np.array([0, 2, 1, 3]),
    end=40,
    time_base=Fraction(1, 100),
    first_key=0,
    timed=True,
    video_id="x",
    errors=0,
)
OPEN = (packet(0, key=True), packet(10), packet(30, key=True), packet(20))
HIDDEN = (packet(0, key=True, shown=False), *CLOSED_EXACT.packets[1:])
TIMES = np.array([0.0, 0.1, 0.2, 0.3])


def test_closed_groups_with_the_same_times_are_exact() -> None:
    assert why_inexact(CLOSED_EXACT, MOV, TIMES) is None
    assert why_inexact(CLOSED_EXACT, MOV, TIMES + 0.001) is None
    assert why_inexact(CLOSED_EXACT, frozenset({"matroska", "webm"}), TIMES) is None


@pytest.mark.parametrize(
    ("index", "formats", "times", "reason"),
    [
        (CLOSED_EXACT, frozenset({"mpegts"}), TIMES, "container is mpegts"),
        (replace(CLOSED_EXACT, errors=1), MOV, TIMES, "damaged"),
        (replace(CLOSED_EXACT, timed=False), MOV, TIMES, "no presentation times"),
        (replace(CLOSED_EXACT, discontinuities=1), MOV, TIMES, "clock jumps"),
        (replace(CLOSED_EXACT, pts=np.array([0, 10, 10, 30])), MOV, TIMES, "equal times"),
        (replace(CLOSED_EXACT, first_key=1), MOV, TIMES, "begins inside a group"),
        (replace(CLOSED_EXACT, packets=HIDDEN), MOV, TIMES, "decoded and not shown"),
        (replace(CLOSED_EXACT, packets=OPEN), MOV, TIMES, "open groups"),
        (CLOSED_EXACT, MOV, TIMES[:3], "decord finds 3 frames and the index 4"),
        (CLOSED_EXACT, MOV, TIMES * 1.01, "other times"),
    ],
)
def test_each_doubt_is_named(
    index: PacketIndex, formats: frozenset[str], times: np.ndarray, reason: str
) -> None:
    assert reason in str(why_inexact(index, formats, times))


def test_only_rotations_are_trusted() -> None:
    for orientation, exact in (
        (Orientation(transpose=True, flip_x=True), True),
        (Orientation(flip_x=True, flip_y=True), True),
        (Orientation(flip_x=True), False),
        (None, False),
    ):
        assert (why_inexact(CLOSED_EXACT, MOV, TIMES, orientation) is None) == exact


pytest.importorskip("decord", reason="decord exists for x86-64 only")

EXACT = DecodeSettings(candidates=16, multiple=1, max_pixels=1 << 20)
# Where decord, trusted, gives frames that are not those shown; what it cannot open is not among them.
KNOWN_WRONG = {
    "open.mp4", "refresh.mp4", "hevc_open.mp4", "open.mkv", "open.ts", "hevc_open.ts", "asp.avi", "h264.avi",
    "mpeg2.mpg", "fields.ts", "fragments.mp4", "vfr.mkv", "late.ts", "trimmed.mp4", "ten_bits.mkv",
    "narrow_pixels.mkv",
}  # fmt: skip
KNOWN_EXACT = ("closed.mp4", "vfr.mp4", "vp9.webm", "single.mp4", "wide_pixels.mp4", "turned270.mp4")


def is_right(clip: Clip, got: Candidates) -> bool:
    numbers = np.array(numbers_of(got.frames, clip.rotation))
    times = clip.times_seconds[np.minimum(numbers, clip.count - 1)]
    return bool(np.all(np.abs(times - got.times) < 2e-3))


@pytest.mark.parametrize("clip", CORPUS, ids=lambda clip: clip.name)
def test_gives_right_frames_or_none(make_clip: MakeClip, clip: Clip) -> None:
    if clip.codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {clip.codec}")
    path = make_clip(clip)
    try:
        trusted = read_by_decord(path, EXACT, trusting=True)
    except SampleError:
        trusted = None
    assert (trusted is not None and not is_right(clip, trusted)) == (clip.name in KNOWN_WRONG)
    if trusted is None or clip.name in KNOWN_WRONG:
        with pytest.raises(SampleError) as caught:
            read_by_decord(path, EXACT)
        assert caught.value.kind is FailureKind.UNSUPPORTED_CODEC


@pytest.mark.parametrize("clip", [clip for clip in CORPUS if clip.name in KNOWN_EXACT], ids=lambda c: c.name)
def test_agrees_with_the_planned_reader_where_decord_is_exact(make_clip: MakeClip, clip: Clip) -> None:
    path = make_clip(clip)
    planned, decord = read_video(path, EXACT), read_by_decord(path, EXACT)
    assert numbers_of(decord.frames, clip.rotation) == numbers_of(planned.frames, clip.rotation)
    np.testing.assert_allclose(decord.times, planned.times, atol=2e-3)
    assert decord.info.video_id == planned.info.video_id
    assert (decord.info.reader, decord.info.width, decord.info.height) == ("decord", *clip.shown_size)
    assert np.abs(decord.frames.astype(int) - planned.frames).mean() < 4  # other conversion to RGB


def test_damaged_real_file_is_a_failure(shared_data: Path) -> None:
    """What decord loses of it changes from run to run, now more than half of it and now less."""
    with pytest.raises(SampleError, match=r"decord cannot decode \d+ of 32 wanted frames") as caught:
        read_by_decord(shared_data / "videos" / "corrupted.mp4", DecodeSettings(candidates=32))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


def test_without_decord_the_message_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(UsageError, match=r"set decode\.reader to 'pyav'"):
        read_by_decord(Path("any.mp4"), EXACT)


def test_same_refusals_as_the_planned_reader(make_clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(SampleError) as caught:
        read_by_decord(tmp_path / "notes.mp4", EXACT)
    assert caught.value.kind is FailureKind.NOT_MEDIA
    assert read_by_decord(make_clip(CLOSED), EXACT).info.decode_errors == 0
