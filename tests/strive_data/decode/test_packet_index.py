from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.clock import ClockRules
from strive_data.decode.packet_index import PacketIndex, index_packets, read_index
from strive_data.decode.packet_scan import Packet, PacketScan, is_hidden
from tests.strive_data.decode.made_checks import read
from tools.barcodes import CLOSED, CORPUS, OPEN_TS, VFR, Clip, encode, numbers_of, x264, x265


def packet(pts: int | None, dts: int | None, *, key: bool = False, shown: bool = True) -> Packet:
    return Packet(pts=pts, dts=dts, duration=10, size_bytes=5, is_key=key, is_shown=shown)


def index_of(*packets: Packet, timed: bool = True) -> PacketIndex | None:
    scan = PacketScan(packets=packets, video_id="x", errors=0)
    clock = ClockRules(may_jump=False, stores_dts=True)
    return index_packets(scan, time_base=Fraction(1, 100), rate=Fraction(10), timed=timed, clock=clock)


def test_times_are_relative_to_the_first_shown_frame() -> None:
    index = index_of(
        packet(140, 100, key=True), packet(170, 110), packet(150, 120), packet(160, 130), packet(180, 140)
    )
    assert index is not None
    assert index.pts.tolist() == [140, 150, 160, 170, 180]
    np.testing.assert_allclose(index.times, [0, 0.1, 0.2, 0.3, 0.4])
    assert index.duration_seconds == pytest.approx(0.5)


def test_frames_that_need_what_the_file_does_not_hold_are_no_part() -> None:
    index = index_of(
        packet(80, 80), packet(130, 90, key=True), packet(110, 100), packet(120, 110), packet(140, 120)
    )
    assert index is not None
    assert index.first_key == 1
    assert index.pts.tolist() == [130, 140]


def test_discarded_packets_are_decoded_from_but_not_shown() -> None:
    index = index_of(packet(-20, -20, key=True, shown=False), packet(-10, -10, shown=False), packet(0, 0))
    assert index is not None
    assert index.first_key == 0
    assert index.pts.tolist() == [0]


def test_without_stored_times_frames_take_the_slots_of_the_decoding_times() -> None:
    guessed = (packet(1, 0, key=True), packet(2, 1), packet(4, 3))
    index = index_of(*guessed, timed=False)
    assert index is not None
    assert not index.timed
    assert index.pts.tolist() == [0, 1, 3]
    nothing = index_of(packet(None, None, key=True), packet(None, None), timed=True)
    assert nothing is not None
    assert nothing.pts.tolist() == [0, 10]


def test_hidden_references_of_vp8() -> None:
    assert is_hidden("vp8", bytes([0b0000_0001]))
    assert not is_hidden("vp8", bytes([0b0001_0001]))
    assert not is_hidden("h264", bytes(1))
    assert is_hidden("theora", b"\x82theora")
    assert not is_hidden("theora", b"\x40")


def test_nothing_to_show() -> None:
    assert index_of() is None
    assert index_of(packet(0, 0), packet(1, 1)) is None
    assert index_of(packet(0, 0, key=True, shown=False)) is None


@pytest.mark.parametrize("clip", [CLOSED, OPEN_TS, VFR], ids=lambda clip: clip.name)
def test_index_of_a_file(make_clip: Callable[[Clip], Path], clip: Clip) -> None:
    path = make_clip(clip)
    index = read_index(path, DecodeSettings())
    np.testing.assert_allclose(index.times, clip.times_seconds, atol=1e-3)
    assert sum(packet.is_key for packet in index.packets) == 8
    assert index.errors == 0
    assert index.timed
    assert index.gradual == (clip is OPEN_TS)


def index_of_file(path: Path) -> PacketIndex:
    return read_index(path, DecodeSettings())


def test_pictures_that_no_other_refers_to(make_clip: Callable[[Clip], Path], tmp_path: Path) -> None:
    """x264 and x265 with three B pictures in a row, of which the middle one is referred to."""
    options = x264(keyint=90, bframes=3, b_adapt=0, b_pyramid="normal", scenecut=0)
    index = index_of_file(make_clip(Clip(name="pyramid3_long.mp4", options=options)))
    disposable = "".join("n" if packet.is_disposable else "R" for packet in index.packets)
    assert disposable == "R" + "RRnn" * 22 + "R"
    hevc = index_of_file(make_clip(next(clip for clip in CORPUS if clip.name == "hevc.mp4")))
    assert 30 < sum(packet.is_disposable for packet in hevc.packets) < 45
    layers = {"x265-params": "keyint=24:bframes=4:temporal-layers=3:log-level=none:pools=none"}
    layered = index_of_file(encode(Clip(name="layers.mp4", codec="libx265", options=layers), tmp_path))
    assert not any(packet.is_disposable for packet in layered.packets)


def test_decoding_does_not_begin_inside_a_gradual_refresh(make_clip: Callable[[Clip], Path]) -> None:
    """Found by fuzzing: a picture refreshed gradually is whole only if all that refresh it are sound."""
    gradual = make_clip(next(clip for clip in CORPUS if clip.name == "refresh.mp4"))
    with av.open(str(gradual)) as container:
        called = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    index = index_of_file(gradual)
    assert sum(called) == 4
    assert [place for place, packet in enumerate(index.packets) if packet.is_key] == [0]


CUT = {
    "radl": ("libx265", x265(keyint=12, min_keyint=12, scenecut=0, bframes=3, b_adapt=0, open_gop=0, radl=2)),
    "rasl": ("libx265", x265(keyint=12, min_keyint=12, scenecut=0, bframes=3, b_adapt=0, open_gop=1)),
    "mpeg4": ("mpeg4", {}),
}


@pytest.mark.parametrize(("kind", "name"), [("radl", "cut.mkv"), ("rasl", "cut.mkv"), ("mpeg4", "cut.avi")])
def test_leading_pictures_of_a_first_key_frame(tmp_path: Path, kind: str, name: str) -> None:
    """Those of a closed group (RADL) need nothing before it, those of an open group do. AVI stores no times,
    and has no slot for those that are dropped."""
    codec, options = CUT[kind]
    source = encode(Clip(name="a.mkv", codec=codec, options=options, max_b_frames=2), tmp_path)
    with av.open(str(source)) as reader, av.open(str(tmp_path / name), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        second = [place for place, packet in enumerate(packets) if packet.is_keyframe][1]
        key = round(packets[second].pts * 25 / 1000)
        leading = sum(packet.pts < packets[second].pts for packet in packets[second:])
        for packet in packets[second:]:
            packet.stream = stream
            writer.mux(packet)
    got = read(tmp_path / name, 90)
    assert leading > 0
    assert numbers_of(got.frames) == list(range(key - leading if kind == "radl" else key, 90))
    np.testing.assert_allclose(got.times, np.arange(len(got.times)) / 25, atol=2e-3)
    assert got.info.decode_errors == 0


@pytest.mark.parametrize("name", ["a.avi", "a.asf"])
@pytest.mark.parametrize("bframes", [0, 3])
def test_guessed_times_are_not_believed_where_they_do_not_step_back(
    tmp_path: Path, name: str, bframes: int
) -> None:
    """FFmpeg takes H.264 in AVI for reordered, and gives a frame the time of the packet behind it. A decoder
    that holds frames back gives each with a later packet, whose time it has."""
    ticks = [*range(31), *range(36, 95)]
    clip = Clip(name=name, options=x264(keyint=12, bframes=bframes), times=ticks)
    got = read(encode(clip, tmp_path), 400)
    assert numbers_of(got.frames) == list(range(90))
    np.testing.assert_allclose(got.times, np.array(ticks) / 25, atol=2e-3)
