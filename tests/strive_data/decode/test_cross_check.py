from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.cross_check import CrossCheck
from strive_data.decode.pyav_reader import read_video
from tests.strive_data.decode.made_checks import MakeClip
from tools.barcodes import CLOSED, CORPUS, Clip, encode
from tools.fuzz import differing_frames

VP8 = next(clip for clip in CORPUS if clip.name == "vp8.webm")
SETTINGS = DecodeSettings(candidates=12, multiple=1, max_pixels=1 << 20)


def differences(path: Path) -> list[int]:
    """Places of the packets of which the two decoders disagree."""
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        check = CrossCheck(codec)
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [n for n, packet in enumerate(packets) if check.difference(packet, _decode(codec, packet))]


def _decode(codec: Any, packet: Any) -> list[Any]:
    try:
        return list(codec.decode(packet))
    except av.error.FFmpegError:
        return []


def with_flipped_byte(source: Path, target: Path, *, place: int, offset: int) -> Path:
    """The file with all bits of one byte of a packet turned."""
    with av.open(str(source)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][place]
    data = bytearray(source.read_bytes())
    data[data.index(packet) + offset] ^= 0xFF
    target.write_bytes(data)
    return target


def test_decoders_of_a_sound_stream_agree(make_clip: MakeClip) -> None:
    assert differences(make_clip(VP8)) == []


def test_other_codecs_are_not_checked(make_clip: MakeClip, tmp_path: Path) -> None:
    path = with_flipped_byte(make_clip(CLOSED), tmp_path / "x.mp4", place=24, offset=60)
    assert differences(path) == []


def test_damage_that_the_decoder_is_silent_about_is_counted(make_clip: MakeClip, tmp_path: Path) -> None:
    """Found by fuzzing: the end of a damaged VP8 key frame was what the memory held, without an error.

    Read from the start, such a frame is at least what every player shows.
    """
    source = make_clip(VP8)
    before = read_video(source, SETTINGS)
    found = 0
    for offset in range(20, 140, 10):
        path = with_flipped_byte(source, tmp_path / "x.webm", place=60, offset=offset)
        got = read_video(path, SETTINGS)
        differs = (got.frames != before.frames).any(axis=(1, 2, 3))
        assert set(np.flatnonzero(differs)) <= {8, 9}  # those of the group of frames 60 to 71
        assert differing_frames(path, SETTINGS, got) == []
        if places := set(differences(path)):
            found += 1
            assert places <= {*range(60, 72)}
            assert got.info.decode_errors > 0
    assert found >= 3


@pytest.mark.parametrize("checksums", ["1", "2", "0"])
def test_an_ffv1_slice_without_its_checksum_is_counted(tmp_path: Path, checksums: str) -> None:
    """Where the stream has none, nothing shows a turned bit."""
    rng, source = np.random.default_rng(0), tmp_path / "x.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        # The second kind of checksum came with version 4, which FFmpeg calls experimental.
        stream.options = {"slicecrc": checksums, "slices": "4", "level": "4" if checksums == "2" else "3",
                          "strict": "-2", "g": "6"}  # fmt: skip
        for _ in range(24):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    before = read_video(source, SETTINGS)
    assert before.info.decode_errors == 0
    with_flipped_byte(source, tmp_path / "y.mkv", place=7, offset=400)
    got = read_video(tmp_path / "y.mkv", SETTINGS)
    wrong = (got.frames != before.frames).any(axis=(1, 2, 3)).nonzero()[0].tolist()
    assert wrong == [3, 4, 5]  # frames 7, 9 and 11, up to the next key frame
    assert got.info.decode_errors == (0 if checksums == "0" else 3)


@pytest.mark.parametrize("offset", [60, 200, 400])
def test_a_png_chunk_without_its_checksum_is_counted(tmp_path: Path, offset: int) -> None:
    source = encode(Clip(name="x.mov", codec="png", pix_fmt="rgb24", count=12), tmp_path)
    before = read_video(source, SETTINGS)
    got = read_video(with_flipped_byte(source, tmp_path / "y.mov", place=7, offset=offset), SETTINGS)
    assert (before.info.decode_errors, len(before.frames)) == (0, 12)
    assert got.info.decode_errors >= 1
    sound = [n for n in range(12) if n != 7]
    at = [got.times.tolist().index(before.times[n]) for n in sound]
    np.testing.assert_array_equal(got.frames[at], before.frames[sound])


def test_a_picture_of_another_size_is_another_picture(make_clip: MakeClip) -> None:
    with av.open(str(make_clip(VP8))) as container:
        packet = next(packet for packet in container.demux(video=0) if packet.size)
        check = CrossCheck(container.streams.video[0].codec_context)
    assert check.difference(packet, [av.VideoFrame(80, 48, "yuv420p")])
