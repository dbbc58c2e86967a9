from __future__ import annotations

import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.error
import av.logging
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.container_bytes import is_torn, iso_boxes
from strive_data.decode.media import open_media, packets_of, packets_until_error, video_stream
from strive_data.errors import FailureKind, SampleError
from tests.strive_data.decode.made_checks import MakeClip, check, read
from tools.barcodes import CLOSED, OPEN_TS, Clip, encode, rewrite


@dataclass(frozen=True)
class FakePacket:
    size: int


class FakeContainer:
    """Reads on from where it was, as a file does, and raises what is among its packets."""

    def __init__(self, *met: int | Exception) -> None:
        self._met = iter(met)

    format = SimpleNamespace(name="mov")

    def demux(self, stream: object) -> Iterator[FakePacket]:
        for item in self._met:
            if isinstance(item, Exception):
                raise item
            yield FakePacket(item)


def test_a_stream_that_appears_later_is_passed_over() -> None:
    """Found by fuzzing a transport stream: PyAV raises IndexError at each packet of such a stream."""
    container = FakeContainer(5, IndexError(), 6, 0, IndexError(), IndexError(), 7, 0)
    assert [packet.size for packet in packets_of(container, None)] == [5, 6, 7]


@pytest.mark.parametrize("error", [av.error.InvalidDataError(1, "x"), av.error.MemoryError(12, "x")])
def test_an_error_of_the_demuxer_ends_the_packets(error: Exception) -> None:
    """Found by fuzzing: FFmpeg says that it lacks memory for a packet whose size in the index is absurd."""
    assert [packet.size for packet in packets_until_error(FakeContainer(5, error, 6), None)] == [5]
    with pytest.raises(av.error.InvalidDataError):
        list(packets_of(FakeContainer(av.error.InvalidDataError(1, "x")), None))


@pytest.mark.parametrize("clip", [CLOSED, OPEN_TS], ids=lambda clip: clip.name)
def test_every_packet_of_a_file_is_read(make_clip: MakeClip, clip: Clip) -> None:
    with open_media(make_clip(clip), DecodeSettings()) as container:
        assert len(list(packets_until_error(container, video_stream(container)))) == 90


def kind_of(path: Path) -> FailureKind:
    with pytest.raises(SampleError) as caught:
        open_media(path, DecodeSettings())
    assert caught.value.message.count(str(path)) == 1
    return caught.value.kind


def test_opens_a_video_with_one_thread(make_clip: MakeClip) -> None:
    with open_media(make_clip(CLOSED), DecodeSettings()) as container:
        assert video_stream(container).codec_context.thread_count == 1


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "none.mp4") is FailureKind.MISSING
    assert kind_of(tmp_path) is FailureKind.MISSING
    (tmp_path / "empty.mp4").touch()
    assert kind_of(tmp_path / "empty.mp4") is FailureKind.EMPTY


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.nfo"])
def test_text_is_no_media_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("What happens in the video?\n" * 200)
    assert kind_of(tmp_path / name) is FailureKind.NOT_MEDIA


def test_play_list_is_not_followed(make_clip: MakeClip) -> None:
    path = make_clip(CLOSED).with_name("list.m3u8")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{CLOSED.name}\n#EXT-X-ENDLIST\n")
    assert kind_of(path) is FailureKind.NOT_MEDIA


def test_mp4_without_its_index(make_clip: MakeClip, tmp_path: Path) -> None:
    data = make_clip(CLOSED).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: data.index(b"moov") - 4])
    assert kind_of(tmp_path / "cut.mp4") is FailureKind.NO_MOOV


def test_real_clip_that_was_cut_off(shared_data: Path) -> None:
    assert kind_of(shared_data / "videos" / "unreadable.mp4") is FailureKind.NO_MOOV


def test_the_message_has_ffmpegs_own_words(
    make_clip: MakeClip, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(av.logging.set_level, av.logging.get_level()))
    av.logging.set_level(av.logging.PANIC)  # as in a worker: only then PyAV keeps the last line
    path = tmp_path / "broken.mp4"
    data = make_clip(CLOSED).read_bytes()
    at = data.index(b"stsc")
    path.write_bytes(data[: at + 4] + b"\xff" * 8 + data[at + 12 :])
    with pytest.raises(SampleError, match=r"Invalid data found .*; mov,.*: error reading header\)") as caught:
        open_media(path, DecodeSettings())
    assert caught.value.kind is FailureKind.NOT_MEDIA


def test_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert kind_of(path) is FailureKind.NO_VIDEO_STREAM


def test_wave_file_is_no_video_format(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    assert kind_of(tmp_path / "sound.wav") is FailureKind.NOT_MEDIA


def test_codec_without_a_decoder(make_clip: MakeClip, tmp_path: Path) -> None:
    data = make_clip(CLOSED).read_bytes().replace(b"avc1", b"zzz1").replace(b"avcC", b"zzzC")
    (tmp_path / "odd.mp4").write_bytes(data)
    assert kind_of(tmp_path / "odd.mp4") is FailureKind.UNSUPPORTED_CODEC


def test_memory_bomb_is_refused(make_clip: MakeClip) -> None:
    with pytest.raises(SampleError, match=r"160×96 pixels, .*max_source_pixels = 15359") as caught:
        open_media(make_clip(CLOSED), DecodeSettings(max_source_pixels=160 * 96 - 1))
    assert caught.value.kind is FailureKind.OOM
    open_media(make_clip(CLOSED), DecodeSettings(max_source_pixels=160 * 96)).close()


def test_name_that_looks_like_a_protocol_is_a_file_name(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("concat:a|b.mp4").write_bytes(make_clip(CLOSED).read_bytes())
    with open_media(Path("concat:a|b.mp4"), DecodeSettings()) as container:
        assert container.streams.best("video").frames == CLOSED.count


def test_a_file_of_countless_boxes_is_read_through_only_where_it_has_fragments(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    for ending, is_cut in ((b"", False), (b"\0\0\0\x08moof", False), (b"\0\0\0\x08moof\0\0", True)):
        path.write_bytes(b"\0\0\0\x08free" * 5000 + ending)
        assert len(iso_boxes(path)) == 1000
        assert is_torn(path, frozenset({"mov", "mp4"})) == is_cut


OGG: dict[str, Any] = {"codec": "libvpx", "options": {"lag-in-frames": "0", "cpu-used": "8"}}


@pytest.mark.parametrize(
    ("clip", "mark"),
    [
        (
            Clip(name="a.mp4", options=CLOSED.options, muxing={"movflags": "frag_keyframe+empty_moov"}),
            b"moof",
        ),
        (
            Clip(name="a.mkv", options=CLOSED.options, muxing={"cluster_time_limit": "400"}),
            b"\x1f\x43\xb6\x75",
        ),
        (Clip(name="a.gif", codec="gif", pix_fmt="rgb8"), b"\x21\xf9\x04"),
        (Clip(name="a.ogg", **OGG), b"OggS"),
        (Clip(name="a.avi", codec="huffyuv", pix_fmt="rgb24"), b"00dc"),
        (Clip(name="a.ts", options=CLOSED.options), b"\x47\x41\x00"),
        (Clip(name="a.m2ts", options=CLOSED.options), b"\x47\x50\x11"),
        (Clip(name="a.mpg", codec="mpeg2video", max_b_frames=2), b"\0\0\1\xba"),
        (Clip(name="a.mxf", codec="mpeg2video", max_b_frames=0), bytes.fromhex("060e2b34010201010d01030115")),
        (Clip(name="a.asf", codec="wmv2"), b"\x82\0\0"),
        (Clip(name="a.ivf", **OGG), (70).to_bytes(8, "little")),
    ],
    ids=lambda value: value.name if isinstance(value, Clip) else "",
)
def test_frames_lost_by_a_break_in_the_structure_of_a_file_are_damage(
    tmp_path: Path, clip: Clip, mark: bytes
) -> None:
    """FFmpeg ends there, or goes on behind it, without an error."""
    path = encode(clip, tmp_path)
    check(read(path), 64, 3.6)
    data = path.read_bytes()
    at = data.index(mark, len(data) * 2 // 3) - 4
    for broken in (data[:at] + bytes(100) + data[at + 100 :], data[: at + 10]):
        path.write_bytes(broken)
        got = read(path, 200)
        assert len(got.frames) < 90
        assert got.info.decode_errors >= 1


def test_zeros_that_fill_the_sectors_of_a_video_cd_are_no_damage(tmp_path: Path) -> None:
    path = encode(Clip(name="a.mpg", codec="mpeg1video", max_b_frames=2), tmp_path)
    head, *parts = re.split(rb"(?=\0\0\x01\xba)", path.read_bytes())
    parts[0], parts[-3] = parts[0] + bytes(20), parts[-3] + bytes(2324)
    path.write_bytes(b"".join([head, *parts, b"\0\0\1\xb9", bytes(500)]))
    check(read(path), 64, 3.6)
    assert read(path).info.decode_errors == 0


def test_a_page_that_an_ogg_file_lacks_is_damage(tmp_path: Path) -> None:
    path = encode(Clip(name="a.ogg", **OGG, muxing={"page_duration": "200000"}), tmp_path)
    pages = path.read_bytes().split(b"OggS")
    assert len(pages) > 20
    path.write_bytes(b"OggS".join([*pages[:12], *pages[13:]]))
    got = read(path, 200)
    assert len(got.frames) < 90
    assert got.info.decode_errors >= 1


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.vob", "mpeg2video"), ("a.mkv", "libvpx-vp9"), ("a.asf", "wmv2")],
)
def test_zeros_in_a_picture_are_damage(tmp_path: Path, name: str, codec: str) -> None:
    """Decoders take them for data; no encoder leaves that many."""
    source = encode(Clip(name=name, codec=codec, max_b_frames=0), tmp_path)

    def edit(place: int, data: bytes) -> bytes:
        return data[:-90] + bytes(50) + data[-40:] if place == 40 else data

    assert read(source, 2).info.decode_errors == 0
    assert read(rewrite(source, tmp_path / f"zeros-{name}", edit), 2).info.decode_errors >= 1
