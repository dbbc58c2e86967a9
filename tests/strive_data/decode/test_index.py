from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.index import (
    Packet,
    PacketIndex,
    PacketScan,
    file_id,
    index_packets,
    is_hidden,
    read_index,
)
from strive_data.decode.media import open_media
from tools.barcodes.clip import Clip
from tools.barcodes.corpus import CLOSED, OPEN_TS, VFR


def packet(pts: int | None, dts: int | None, *, key: bool = False, shown: bool = True) -> Packet:
    return Packet(pts=pts, dts=dts, duration=10, size_bytes=5, is_key=key, is_shown=shown)


def index_of(*packets: Packet, timed: bool = True) -> PacketIndex | None:
    scan = PacketScan(packets=packets, video_id="x", errors=0)
    return index_packets(scan, time_base=Fraction(1, 100), rate=Fraction(10), timed=timed)


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


def test_nothing_to_show() -> None:
    assert index_of() is None
    assert index_of(packet(0, 0), packet(1, 1)) is None
    assert index_of(packet(0, 0, key=True, shown=False)) is None


@pytest.mark.parametrize("clip", [CLOSED, OPEN_TS, VFR], ids=lambda clip: clip.name)
def test_index_of_a_file(make_clip: Callable[[Clip], Path], clip: Clip) -> None:
    path = make_clip(clip)
    with open_media(path, DecodeSettings()) as container:
        index = read_index(path, container, container.streams.best("video"))
    np.testing.assert_allclose(index.times, clip.times_seconds, atol=1e-3)
    assert sum(packet.is_key for packet in index.packets) == 8
    assert index.errors == 0
    assert index.timed
    assert index.gradual == (clip is OPEN_TS)


def test_file_id_follows_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1" * 3_000_000)
    (tmp_path / "b").write_bytes(b"1" * 3_000_000)
    (tmp_path / "c").write_bytes(b"1" * 2_999_999 + b"2")
    assert file_id(tmp_path / "a") == file_id(tmp_path / "b") != file_id(tmp_path / "c")
    assert len(file_id(tmp_path / "a")) == 32
