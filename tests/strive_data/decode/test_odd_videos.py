"""Files that were once decoded wrongly, refused wrongly or called damaged wrongly, and others of their kinds.

The expected numbers are those of a full decode by the FFmpeg command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from strive_data.decode.packet_scan import is_parameters, nal_units
from strive_data.errors import FailureKind, SampleError
from tests.strive_data.decode.made_checks import MakeClip, check, midpoint_numbers, read
from tools.barcodes import CLOSED, Clip, encode, numbers_of, remux, rewrite, without_avi_index, x264, x265

NUMBER_BITS = 12


def shared_numbers(frames: np.ndarray) -> list[int]:
    """Numbers in the pictures of the shared files: the highest bit is left."""
    _, height, width, _ = frames.shape
    upper = frames[:, height // 8 : height * 3 // 8].mean(axis=(1, 3))
    centres = ((np.arange(NUMBER_BITS) + 0.5) * width / NUMBER_BITS).astype(int)
    return ((upper[:, centres] > 127) @ (1 << np.arange(NUMBER_BITS)[::-1])).tolist()


@pytest.mark.parametrize(
    ("name", "seconds", "discontinuities"),
    [
        ("base.mp4", 4.0, 0),
        ("hflip.mp4", 4.0, 0),
        ("zero.mp4", 4.0, 0),
        ("sei90.mp4", 4.0, 0),
        ("pal8.avi", 0.8, 0),
        ("ts_concat.ts", 8.0, 1),
        ("ts_gap.ts", 8.0, 1),
        ("outlier.mkv", 4.0, 1),
        ("late10.mkv", 4.0, 0),
        ("audio12_notag.mkv", 4.0, 0),
        ("vp8_alpha.webm", 4.0, 0),
        ("noidx_zmbv.avi", 1.6, 0),
        ("swf.swf", 4.0, 0),
        ("xvid_packed.avi", 3.92, 0),
    ],
)
@pytest.mark.parametrize("count", [8, 64])
def test_shared_files(shared_data: Path, name: str, seconds: float, discontinuities: int, count: int) -> None:
    got = read(shared_data / "odd_videos" / name, count)
    frames = got.frames[:, :, ::-1] if name == "hflip.mp4" else got.frames
    expected = midpoint_numbers(count, seconds)
    if name == "xvid_packed.avi" and count == 64:
        expected[-1] = 98  # the decoder loses picture 97
    assert shared_numbers(frames) == expected
    assert got.info.duration_seconds == pytest.approx(seconds)
    np.testing.assert_allclose(got.times, np.minimum(expected, round(seconds * 25) - 1) / 25, atol=2e-3)
    assert (got.info.decode_errors, got.info.discontinuities) == (0, discontinuities)


@pytest.mark.parametrize(("name", "first"), [("seg001.mkv", 75), ("seg002.mkv", 150)])
def test_shared_segments_whose_clock_begins_late(shared_data: Path, name: str, first: int) -> None:
    got = read(shared_data / "odd_videos" / name)
    assert shared_numbers(got.frames) == [first + n for n in midpoint_numbers(64, 3.0)]
    assert (got.info.decode_errors, got.info.discontinuities) == (0, 0)


def test_shared_stream_whose_parameters_change(shared_data: Path) -> None:
    """Its clock steps back by 80 ms there: of the frames with equal times the last is taken."""
    got = read(shared_data / "odd_videos" / "flv_change.flv", 98)
    assert shared_numbers(got.frames) == [*range(48), *range(50, 100)]
    base = read(shared_data / "odd_videos" / "base.mp4", 100)
    assert np.abs(got.frames[48:].astype(int) - base.frames[50:]).mean() < 3
    assert (got.info.decode_errors, got.info.discontinuities) == (0, 0)


def test_shared_file_with_equal_times(shared_data: Path) -> None:
    got = read(shared_data / "odd_videos" / "vfr90k.mp4", 8)
    with av.open(str(shared_data / "odd_videos" / "vfr90k.mp4")) as container:
        times = [round(frame.time, 4) for frame in container.decode(video=0)]
    last = {time: number for number, time in enumerate(times)}
    assert shared_numbers(got.frames) == [last[round(time, 4)] for time in got.times.tolist()]
    assert len(times) - len(last) == 25


def test_shared_file_with_a_short_message(shared_data: Path) -> None:
    """Its container has no presentation times either, and the edit list cuts pictures 0 and 4."""
    got = read(shared_data / "odd_videos" / "sei_trunc.mp4", 98)
    assert shared_numbers(got.frames) == [n for n in range(100) if n not in (0, 4)]
    assert got.info.decode_errors == 0


def part(folder: Path, name: str, first: int, count: int, *, start: int = 0, **made: Any) -> Path:
    """A clip of the pictures `first`, `first` + 1 ..., its clock beginning at tick `start` of 1/25 s."""
    clip = Clip(name=name, count=count, times=range(start, start + count), **made)
    return encode(clip, folder, first_number=first)


JOINED = {
    "h264.ts": {"options": CLOSED.options},
    "hevc.ts": {"codec": "libx265", "options": x265(keyint=12, bframes=3, open_gop=0)},
    "mpeg2.ts": {"codec": "mpeg2video", "max_b_frames": 2},
    "mpeg2.vob": {"codec": "mpeg2video", "max_b_frames": 2},
    "vp8.ogg": {"codec": "libvpx", "options": {"lag-in-frames": "0", "cpu-used": "8"}},
}


@pytest.mark.parametrize(
    ("name", "start"),
    [(name, start) for name in JOINED for start in (0, 5000) if start == 0 or not name.endswith("ogg")],
)
def test_joined_files_play_one_after_the_other(tmp_path: Path, name: str, start: int) -> None:
    """The clock is reset, or it jumps forward by 200 s; a second Ogg stream always begins at 0."""
    made: dict[str, Any] = JOINED[name]
    one, two = (
        part(tmp_path, f"1{name}", 0, 50, **made),
        part(tmp_path, f"2{name}", 50, 50, start=start, **made),
    )
    path = tmp_path / name
    path.write_bytes(one.read_bytes() + two.read_bytes())
    check(read(path), 64, 4.0, discontinuities=1)
    check(read(path, 5), 5, 4.0, discontinuities=1)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_parameters_that_are_sent_once(tmp_path: Path, codec: str) -> None:
    """Those of the second half are others: without them its colours are wrong, and no decoder says so."""
    files = []
    for half, offset in enumerate((-10, 10)):
        made: dict[str, Any] = {"options": x264(keyint=6, bframes=2, chroma_qp_offset=offset)}
        if codec == "hevc":
            options = x265(keyint=6, bframes=2, open_gop=0, cbqpoffs=offset, crqpoffs=offset)
            made = {"codec": "libx265", "options": options}
        files.append(part(tmp_path, f"{half}.ts", 60 * half, 60, start=10 + 60 * half, **made))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(file.read_bytes() for file in files))

    def edit(place: int, data: bytes) -> bytes:
        units = nal_units(codec, data, b"")
        return b"".join(
            b"\0\0\0\1" + unit for unit in units if place in (0, 60) or not is_parameters(codec, unit)
        )

    got, alone = read(rewrite(joined, tmp_path / "once.mkv", edit), 4), read(files[1], 60)
    np.testing.assert_allclose(got.times, np.array([15, 45, 75, 105]) / 25, atol=2e-3)
    np.testing.assert_array_equal(got.frames[2:], alone.frames[[15, 45]])
    assert got.info.decode_errors == 0


@pytest.mark.parametrize(("header_bytes", "start"), [(0, 0), (0, 5000), (13, 0)])
def test_joined_flash_videos(tmp_path: Path, header_bytes: int, start: int) -> None:
    """FFmpeg stops at the header of a second file, without an error. The clock may jump there by 200 s."""
    one, two = (
        part(tmp_path, f"{n}.flv", 50 * n, 50, start=start * n, options=CLOSED.options).read_bytes()
        for n in (0, 1)
    )
    path = tmp_path / "joined.flv"
    path.write_bytes(one + two[header_bytes:])
    check(read(path), 64, 4.0, discontinuities=1)
    check(read(path, 7), 7, 4.0, discontinuities=1)


@pytest.mark.parametrize(("place", "seconds"), [(0, 900), (30, 60), (31, 28_715), (89, 28_715)])
def test_one_absurd_time_costs_no_candidate(
    make_clip: MakeClip, tmp_path: Path, place: int, seconds: int
) -> None:
    def edit(at: int, packet: Any) -> None:
        packet.pts += round(seconds / packet.time_base) if at == place else 0

    path = remux(make_clip(CLOSED), tmp_path / "outlier.mkv", edit)
    check(read(path), 64, 3.6, discontinuities=1)


def test_frames_with_equal_times_are_shown_in_the_order_of_the_decoder(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Of frames 2n and 2n + 1, which have the same time here, the second is shown last, whichever is decoded
    first."""

    def edit(place: int, packet: Any) -> None:
        step = round(1 / 25 / packet.time_base)
        packet.pts -= packet.pts // step % 2 * step

    got = read(remux(make_clip(CLOSED), tmp_path / "pairs.mkv", edit), 45)
    assert numbers_of(got.frames) == list(range(1, 90, 2))
    np.testing.assert_allclose(got.times, np.arange(45) * 0.08, atol=2e-3)
    assert got.info.decode_errors == 0


@pytest.mark.parametrize("name", ["closed.mp4", "hevc.mp4", "vp9.webm", "plain.avi"])
@pytest.mark.parametrize("keys", ["all", "none", "late"])
def test_key_flags_that_lie(make_clip: MakeClip, tmp_path: Path, name: str, keys: str) -> None:
    clips = [CLOSED, *ODD_KEYS]

    def edit(place: int, packet: Any) -> None:
        packet.is_keyframe = keys == "all" or (keys == "late" and place == 36)

    source = make_clip(next(clip for clip in clips if clip.name == name))
    check(read(remux(source, tmp_path / "keys.mkv", edit)), 64, 3.6)


ODD_KEYS = [
    Clip(name="hevc.mp4", codec="libx265", options=x265(keyint=12, bframes=3, open_gop=0)),
    Clip(name="vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    Clip(name="plain.avi", codec="mpeg4", max_b_frames=0),
]


@pytest.mark.parametrize("codec", ["mpeg4", "zmbv", "flv", "ffv1"])
def test_an_avi_file_without_its_index(tmp_path: Path, codec: str) -> None:
    pix_fmt = "bgr0" if codec == "zmbv" else "yuv420p"
    clip = Clip(name="a.avi", codec=codec, pix_fmt=pix_fmt, max_b_frames=0, edit=without_avi_index)
    check(read(encode(clip, tmp_path), 16), 16, 3.6)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_alpha_is_no_difference(tmp_path: Path, codec: str) -> None:
    options = {"auto-alt-ref": "0", "cpu-used": "8", "lag-in-frames": "0"}
    clip = Clip(name="alpha.webm", codec=codec, pix_fmt="yuva420p", options=options)
    check(read(encode(clip, tmp_path)), 64, 3.6)


SHORT_MESSAGE = bytes([39 << 1, 1, 137, 5, 1, 2, 3, 4, 5, 0x80])  # mastering display: 24 bytes are needed
LONG_MESSAGE = bytes([39 << 1, 1, 1, 200, 1, 2, 0x80])  # says that 200 bytes follow

ZERO_MESSAGE = bytes([39 << 1, 1, 5, 20, *bytes(20), 0x80])


@pytest.mark.parametrize(
    "message", [SHORT_MESSAGE, LONG_MESSAGE, ZERO_MESSAGE], ids=["short", "long", "zeros"]
)
def test_broken_messages_of_hevc_are_no_damage_and_hide_none(tmp_path: Path, message: bytes) -> None:
    clip = Clip(name="a.mp4", codec="libx265", options=x265(keyint=30, bframes=0, hash=1))
    source = encode(clip, tmp_path)

    def with_message(place: int, data: bytes, turned: int = -1) -> bytes:
        edited = bytearray(data)
        edited[len(data) // 2] ^= 4 if place == turned else 0
        return len(message).to_bytes(4, "big") + message + edited

    check(read(rewrite(source, tmp_path / "m.mp4", with_message), 10), 10, 3.6)
    turned = rewrite(source, tmp_path / "t.mp4", lambda place, data: with_message(place, data, 35))
    assert read(turned, 10).info.decode_errors == 1 + 3  # the packet, and of 30 to 59 the frames 40, 49, 58


@pytest.mark.parametrize("tagged", [True, False])
def test_sound_that_lasts_longer_is_no_damage(make_clip: MakeClip, tmp_path: Path, tagged: bool) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(make_clip(CLOSED))) as reader, av.open(str(path), "w") as writer:
        video = writer.add_stream_from_template(reader.streams.video[0])
        sound = writer.add_stream("pcm_s16le", rate=8000, layout="mono")
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = video
                writer.mux(packet)
        for second in range(12):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 8000 * second
            writer.mux(sound.encode(frame))
        writer.mux(sound.encode(None))
    if not tagged:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOM"))
    check(read(path), 64, 3.6)


@pytest.mark.parametrize("seconds", [3, 100])
def test_a_matroska_clock_that_begins_late(make_clip: MakeClip, tmp_path: Path, seconds: int) -> None:
    def edit(place: int, packet: Any) -> None:
        packet.pts += round(seconds / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts + round(seconds / packet.time_base)

    path = remux(make_clip(CLOSED), tmp_path / "late.mkv", edit)
    check(read(path), 64, 3.6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert read(path, 8).info.decode_errors == 1
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SampleError) as caught:
        read(path, 8)
    assert caught.value.kind is FailureKind.PARTIAL_DECODE


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.ts", "hevc.ts"])
def test_segments_that_go_on_in_time_are_not_damaged(tmp_path: Path, name: str) -> None:
    """As those of a live stream: only the counters of their packets jump. Lost packets are still counted."""
    made: dict[str, Any] = JOINED[name]
    files = [part(tmp_path, f"{n}.ts", 30 * n, 30, start=10 + 30 * n, **made).read_bytes() for n in range(3)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(files))
    check(read(path), 64, 3.6)
    half = 188 * (len(files[0]) // 376)
    for lost in (files[0][:half] + files[1], files[0][:half] + files[0][half + 4 * 188 :]):
        path.write_bytes(lost)
        assert read(path, 8).info.decode_errors >= 1


@pytest.mark.parametrize("name", ["pause.mp4", "pause.mkv", "pause.flv", "pause.ts"])
def test_frames_behind_a_pause_are_not_shown_before_it(tmp_path: Path, name: str) -> None:
    """40 s in which nothing moves: a pause, but a jump in a transport stream."""
    times = [*range(48), *range(1048, 1100)]
    path = encode(Clip(name=name, options=CLOSED.options, count=100, times=times), tmp_path)
    got, is_jump = read(path, 2000), name.endswith("ts")
    assert numbers_of(got.frames) == list(range(100))
    np.testing.assert_allclose(got.times, np.array(range(100) if is_jump else times) / 25, atol=2e-3)
    assert got.info.discontinuities == is_jump


@pytest.mark.parametrize("bit_rate", [80_000, 600_000])
def test_frames_of_a_vob_file_without_a_time_keep_their_place(tmp_path: Path, bit_rate: int) -> None:
    made: dict[str, Any] = {"codec": "mpeg2video", "max_b_frames": 2, "options": {"b": str(bit_rate)}}
    one, two = (part(tmp_path, f"{n}.vob", 100 * n, 100, **made).read_bytes() for n in (0, 1))
    path = tmp_path / "joined.vob"
    path.write_bytes(one + two)
    check(read(path, 200), 200, 8.0, discontinuities=1)


def test_swf_has_no_key_flags(tmp_path: Path) -> None:
    check(read(encode(Clip(name="a.swf", codec="flv"), tmp_path)), 64, 3.6)


@pytest.mark.parametrize("name", ["a.asf", "a.mkv", "a.flv", "a.ts"])
def test_decoding_times_in_place_of_presentation_times(
    make_clip: MakeClip, tmp_path: Path, name: str
) -> None:
    def edit(place: int, packet: Any) -> None:
        packet.pts = packet.dts = round(place / 25 / packet.time_base)

    check(read(remux(make_clip(CLOSED), tmp_path / name, edit)), 64, 3.6)


@pytest.mark.parametrize(
    ("name", "first"), [("mpeg2.ts", 44), ("mpeg2.ts", 45), ("h264.ts", 44), ("mpeg2.vob", 51)]
)
def test_a_pause_of_the_clock_costs_no_frame(tmp_path: Path, name: str, first: int) -> None:
    """Where no packet is missing, the frames behind it refer to those before it."""
    times = [*range(first), *range(1500 + first, 1600)]
    path = encode(Clip(name=name, count=100, times=times, **JOINED[name]), tmp_path)
    check(read(path, 200), 200, 4.0, discontinuities=1)


def test_leading_pictures_before_the_start_of_a_matroska_file_are_not_missed(tmp_path: Path) -> None:
    """Cut at an open group: FFmpeg gives them no time, since theirs is negative."""
    options = x265(keyint=30, min_keyint=30, scenecut=0, bframes=3, open_gop=1)
    source, path = (
        encode(Clip(name="a.mkv", codec="libx265", options=options), tmp_path),
        tmp_path / "cut.mkv",
    )
    with av.open(str(source)) as reader:
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
        with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as writer:
            stream, start = writer.add_stream_from_template(reader.streams.video[0]), packets[keys[1]].pts
            for place, packet in enumerate(packets[keys[1] :]):
                packet.pts, packet.dts, packet.stream = packet.pts - start, place - 1000, stream
                writer.mux(packet)
    got, first = read(path), round(start * 25 / 1000)
    assert numbers_of(got.frames) == list(range(first, 90))
    assert (got.info.decode_errors, got.times[0]) == (0, 0)
